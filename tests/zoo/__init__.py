"""Small seeded models as real users write them: what the library is tested on.

Nothing here knows the library; every model is a plain ``nn.Module``.
"""

from .catalogue import SPECIMENS, specimen
from .cifar import cifar_test_images, resnet20
from .specimen import Specimen
from .twins import TWINS, Twins

__all__ = ["SPECIMENS", "TWINS", "Specimen", "Twins", "cifar_test_images", "resnet20", "specimen"]
