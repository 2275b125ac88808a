"""The main jobs as library calls: from a model and data to results, files and a page."""

import sys
from typing import TYPE_CHECKING

from vesalius.core.lazy import LazyPackage

if TYPE_CHECKING:
    from vesalius.workflow.demo import demo as demo
    from vesalius.workflow.display import AttributionDisplay as AttributionDisplay
    from vesalius.workflow.explain import ExplainOptions as ExplainOptions
    from vesalius.workflow.explain import explain as explain
    from vesalius.workflow.gallery import gallery as gallery
    from vesalius.workflow.sparsify import SparsifyOptions as SparsifyOptions
    from vesalius.workflow.sparsify import sparsify as sparsify
    from vesalius.workflow.survey import SurveyPageOptions as SurveyPageOptions
    from vesalius.workflow.survey import survey as survey

PUBLIC = {
    "AttributionDisplay": "vesalius.workflow.display",
    "ExplainOptions": "vesalius.workflow.explain",
    "SparsifyOptions": "vesalius.workflow.sparsify",
    "SurveyPageOptions": "vesalius.workflow.survey",
    "demo": "vesalius.workflow.demo",
    "explain": "vesalius.workflow.explain",
    "gallery": "vesalius.workflow.gallery",
    "sparsify": "vesalius.workflow.sparsify",
    "survey": "vesalius.workflow.survey",
}
"""Names, and where each is defined: the command line's parser imports modules of this package and is not to wait for the others."""

__all__ = [*PUBLIC]

sys.modules[__name__].__class__ = LazyPackage
