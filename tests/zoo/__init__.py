"""Small seeded models as real users write them: what the library is tested on.

Nothing here knows the library; every model is a plain ``nn.Module``.
"""

from .catalogue import SPECIMENS, specimen
from .cifar import cifar_test_images, resnet20
from .specimen import Specimen

__all__ = ["SPECIMENS", "Specimen", "cifar_test_images", "resnet20", "specimen"]
