"""What ``shapsae.py`` prints around its tables: what the papers claim, and what holds."""

OPENING = """# Sparse autoencoders by the importance of links, measured again

Rhee and Park (2023, 2025) prune the links of a trained autoencoder whose Shapley values for their unit's output are smallest, and report
that pruned up to 80 % it is better than before, and that 10 % of the links keep 99.25 % of the accuracy. Data, training, baselines and
what accuracy means were not published; here they are our choice. Cells are means over seeds with their standard error.

    VESALIUS_DATA=... python reproductions/shapsae.py RESULTS.json > docs/shapsae_claims.md

## Six features

The paper's 15,000 rows of a constant, four kinds of noise and two sums (x5 = x1 + x2, x6 = x3 + x4), a 6-3-6 autoencoder, ten seeds, all
links enumerated. *Paper: the sums are clearly the most important, the constant is worth 0.* Its units are not said; ours are tanh, since
of three ReLUs some often die.
"""
PICTURES = """## Digits and clothes

784-256-64-256-784, ReLU, a sigmoid at the end, 12 epochs on 55,000 pictures, tested on 10,000. Cells below are the mean squared error x
1000 / the share of test pictures that a linear probe, fitted on latents of the dense network, tells from the pruned one's. Settings were
chosen on pictures held out from training.
"""
ONE_SHOT = """### One-shot: scored once, pruned once

As in the paper, the same share in every layer; what pruned links carried on average goes into the biases, which the paper does not say.
"""
UNCOMPENSATED = """### The same without compensation, and with all layers in one ranking
"""
LEVELS = """### The paper's importance level

The fewest links of each layer that carry a share m of its importance.
"""
ROUNDS = """### Scored, pruned and refitted in rounds

Our default: no gradient step. And with one epoch of training what is left.
"""
ONE_EPOCH = """### An epoch of fine-tuning after one-shot pruning
"""
WHOLE_UNITS = """### Whole units

Hidden units whose outgoing links are worth least, removed, the rest refitted; columns are the share of the units of each hidden layer.
"""
OTHER_AUTOENCODERS_TEXT = """### Autoencoders that are made sparse in training, and a deeper one

One seed; refitted.
"""
ACCURACY = """### Which accuracy

As shares of the dense network's.
"""
FINDINGS = """## What holds and what does not

Read off the tables above, as they came out on 2026-11-29, five seeds:

- *Shapley values choose better links than other scores*: holds, one-shot (scored and pruned once), with compensation, at 80 and 90 %, in
  error and in the fixed probe, on both data sets, against magnitude, Wanda, linear and chance. It does not hold against the gate score,
  one product of matrices (|w| E|act'(z) (x - E x)|), which is as good everywhere. What wins is the slope of the activation and a baseline
  of data, not the average over coalitions.
- **Such masks are of little use**: at 90 % the error is 52 of the mean row's 67 on MNIST, and above the mean row's on Fashion-MNIST.
  Without compensation, which the paper does not mention, they are worse than the mean row from 50 % on (MNIST).
- *Better than dense up to 80 %*: not seen, in no table and by no meaning of accuracy, beyond noise.
- *10 % of the links keep 99.25 % of the accuracy*: not by one mask: 80 and 63 % of the dense network's fixed probe, 56 and 29 % of a
  classifier on reconstructions. By the refitted probe 99.2 and 98.6 %, but random masks have 90 and 94 % there. Scored, pruned and
  refitted in rounds, without a gradient step: 99.5 and 99.2 % of the fixed probe, 98.3 and 97.6 % of the classifier, with 1.27 and 1.36
  times the error.
- After refitting, the score matters little at 90 % (8.4 to 8.9 on MNIST, random 43), and more at 95 %: gate and Shapley 11 to
  12, Wanda and magnitude 16 to 17.
- The same in seconds is better than an epoch of fine-tuning after one-shot pruning (19.5 against 8.4 at 90 % on MNIST); an epoch after
  the rounds lowers the error by another 4 to 12 % and leaves the probe as it was or a little below.
- An importance level of m = 0.8 cuts 80 % of the links on MNIST and 70 % on Fashion-MNIST: it is no share of the links.
- *The sums of six features are the most important*: not shown. x6 and x3 share the lead (.125 and .115, highest in 3 and in 4 of 10
  seeds), x5 is the least of the five that vary. *The constant is worth 0*: holds, exactly, by the choice of baseline.
- Whole units: a quarter of them costs hardly anything, half of them doubles the error on MNIST and costs 28 % on Fashion-MNIST. Latent
  units are among them, which a probe fitted on all latents cannot read any more.
"""
