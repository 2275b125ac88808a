class Contract:
    pass


def check_method():
    pass
