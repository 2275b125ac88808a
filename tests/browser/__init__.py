"""Pages in a browser; run by ``make browser``, which has one. They are outside the default paths, so that no run skips them in silence."""
