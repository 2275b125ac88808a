"""The Gaussian process behind the estimators that learn a game: its covariance, and what is known after some coalitions."""
