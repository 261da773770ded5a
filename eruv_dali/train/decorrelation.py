"""Terms of the loss against a collapse of the features: VICReg's variance and covariance.

Bardes, Ponce, LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning", ICLR 2022,
section 4.1, equations 1 to 4. The paper applies them to the outputs of an expander, of which only the backbone is kept;
here they apply to the backbone's features, which are what is kept, as they are (not standardised: their spread is what
the variance term is about).
"""

import torch
from torch.nn import functional as F

WANTED_STD = 1.0  # the paper's γ
EPSILON = 1e-4


def variance_term(f_ND: torch.Tensor) -> torch.Tensor:
    """How far the D features' standard deviations over N clips fall short of 1, on average: 0 to 1; scalar float32.

    N is at least 2.
    """
    std_D = (f_ND.float().var(0) + EPSILON).sqrt()
    return F.relu(WANTED_STD - std_D).mean()


def covariance_term(f_ND: torch.Tensor) -> torch.Tensor:
    """The squared covariances of each two of the D features over N clips, summed, over D; scalar float32.

    N is at least 2. Covariances are estimated from N clips: independent features of standard deviation 1 have about
    (D - 1) / (N - 1), not 0. (The paper has N = 2048 and D = 8192, which is 4.)
    """
    centred_ND = f_ND.float() - f_ND.float().mean(0)
    covariance_DD = centred_ND.T @ centred_ND / (len(f_ND) - 1)
    squares_DD = covariance_DD.square()
    return (squares_DD.sum() - squares_DD.diagonal().sum()) / f_ND.shape[1]
