"""Families and links: tails, expectations, truths about each pair, and whole fits."""

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cases
import numpy as np
import pytest
from glm import GLM, binomial_deviance
from reference import relative_error
from scipy import special, stats
from sklearn.base import clone

from skinfluence import InfluenceExplainer, register_estimator
from skinfluence._array import to_numpy
from skinfluence.exceptions import InvalidDataError, InvalidParameterError
from skinfluence.losses import (
    AbstractLink,
    AbstractLoss,
    Binomial,
    CLogLog,
    ExpectedInformation,
    ExponentialFamilyLoss,
    Gamma,
    Gaussian,
    HalfBinomialLoss,
    HalfSquaredError,
    HalfTweedieIdentityLoss,
    HalfTweedieLoss,
    Identity,
    InverseGaussian,
    Log,
    Logit,
    LogLog,
    NegativeBinomial,
    Poisson,
    Power,
    Probit,
    Repeated,
    Tweedie,
)
from skinfluence.support import _table

PAIRS = [
    ExponentialFamilyLoss(family, link)
    for family in cases.FAMILIES
    for link in cases.LINKS
]
every_pair = pytest.mark.parametrize("loss", PAIRS, ids=repr)
PROPORTIONS = [Logit(), Probit(), CLogLog(), LogLog()]
every_proportion = pytest.mark.parametrize("link", PROPORTIONS, ids=repr)


def grid_of(loss, n=41, most=40.0):
    """Targets (n, 1), outputs (n, 1) that spread over the domain, up to its ends."""
    y = cases.FAMILIES[loss.family](np.random.default_rng(0), n)
    low, high = loss.link.outputs(loss.family.lower, loss.family.upper)
    if np.isinf(low) and np.isinf(high):
        u = np.linspace(-most, most, n)
    elif np.isinf(high):
        u = low + np.geomspace(1e-3, most, n)
    elif np.isinf(low):
        u = high - np.geomspace(1e-3, most, n)
    else:
        u = low + (high - low) * special.expit(np.linspace(-7, 7, n))
    return y, u[:, None]


# --- links ----------------------------------------------------------------------------

U = np.concatenate([-np.geomspace(1e5, 1e-3, 300), [0.0], np.geomspace(1e-3, 37, 100)])


def test_the_normal_tail_keeps_its_digits():
    value, first, second, third = Probit().log_mean(U)
    left = U < 3  # beyond, exp(-u**2 / 2) loses digits, here and in SciPy
    np.testing.assert_allclose(value[left], special.log_ndtr(U[left]), rtol=1e-14)
    np.testing.assert_allclose(value, special.log_ndtr(U), rtol=1e-12)
    hazard = np.sqrt(2 / np.pi) / special.erfcx(-U / np.sqrt(2))
    near = (U > -30) & left  # erfcx is asymptotic beyond
    np.testing.assert_allclose(first[near], hazard[near], rtol=2e-15)
    # Further out by the asymptotic series of the hazard, at s = -u.
    far = U < -200
    s = -U[far]
    over = 1 / s - 2 / s**3 + 10 / s**5 - 74 / s**7  # hazard less s
    np.testing.assert_allclose(first[far], s + over, rtol=1e-14)
    slope = 1 - 1 / s**2 + 6 / s**4 - 50 / s**6 + 518 / s**8  # of the hazard in s
    np.testing.assert_allclose(second[far], -slope, rtol=1e-12)
    bend = 2 / s**3 - 24 / s**5 + 300 / s**7 - 4144 / s**9
    np.testing.assert_allclose(third[far], bend, rtol=1e-7)
    # Without far digits, second and third are functions of the first.
    middle = np.abs(U) < 3
    u, r = U[middle], first[middle]
    np.testing.assert_allclose(second[middle], -r * (u + r), rtol=1e-13)
    direct = r * ((u + r) * (u + 2 * r) - 1)
    np.testing.assert_allclose(third[middle], direct, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("link", "mean", "complement"),
    [
        (Logit(), special.expit, lambda u: special.expit(-u)),
        (Probit(), special.ndtr, lambda u: special.ndtr(-u)),
        (
            CLogLog(),
            lambda u: -np.expm1(-np.exp(u)),
            lambda u: np.exp(-np.exp(u)),
        ),
        (
            LogLog(),
            lambda u: np.exp(-np.exp(-u)),
            lambda u: -np.expm1(-np.exp(-u)),
        ),
    ],
    ids=["logit", "probit", "cloglog", "loglog"],
)
def test_links_of_proportions_are_what_they_say(link, mean, complement):
    u = np.linspace(-4, 4, 101)
    np.testing.assert_allclose(link.mean(u)[0], mean(u), rtol=1e-13)
    np.testing.assert_allclose(link.complement(u), complement(u), rtol=1e-13)
    np.testing.assert_allclose(np.exp(link.log_mean(u)[0]), mean(u), rtol=1e-13)


@every_proportion
def test_logarithms_of_tiny_means_keep_their_digits(link):
    """Derivatives that vanish do so with digits: relative to their own size."""
    for function in (link.log_mean, link.log_complement):
        u, h = np.linspace(-5.5, 5.5, 97), 1e-5
        above, below, at = function(u + h), function(u - h), function(u)
        for order in range(3):
            slope = (above[order] - below[order]) / (2 * h)
            size = np.maximum(np.abs(at[order]), np.abs(at[order + 1]))
            # Rounding of the difference, and its truncation, relative to the size.
            assert np.all(np.abs(slope - at[order + 1]) <= 2e-6 * size + 1e-290)


def test_series_and_closed_form_of_the_complementary_log_log_meet():
    u = np.log(0.5) + np.array([-1e-12, 1e-12])
    below, above = np.array(CLogLog().log_mean(u)).T
    np.testing.assert_allclose(below, above, rtol=1e-11)
    far = np.array([-30.0, -200.0, -600.0])  # log(mu) = u, slope 1
    value, first, second, _ = CLogLog().log_mean(far)
    np.testing.assert_allclose(value, far, rtol=1e-13)
    np.testing.assert_allclose(first, 1, rtol=1e-12)
    np.testing.assert_allclose(second, -np.exp(far) / 2, rtol=1e-12)


def test_an_inverse_link_is_a_power():
    u = np.array([0.5, 2.0])
    np.testing.assert_allclose(Power(-1.0).mean(u)[0], 1 / u)
    np.testing.assert_allclose(Power(-2.0).mean(u)[0], 1 / np.sqrt(u))
    np.testing.assert_allclose(Power(0.5).mean(u)[0], u**2)
    with pytest.raises(InvalidParameterError, match="Log"):
        Power(0.0)


@dataclass(frozen=True)
class Cauchit(AbstractLink):
    """``mu = 1/2 + arctan(u) / pi``: no more than a link has to say."""

    lower = 0.0
    upper = 1.0

    def mean(self, u):
        slope = 1 / (np.pi * (1 + u**2))
        bend = -2 * np.pi * u * slope**2
        third = (6 * u**2 - 2) / (np.pi * (1 + u**2) ** 3)
        return 0.5 + np.arctan(u) / np.pi, slope, bend, third


@pytest.mark.parametrize("family", [Binomial(), Poisson(), Gaussian()], ids=repr)
def test_a_link_of_ones_own_needs_no_more_than_its_mean(family):
    loss, h = ExponentialFamilyLoss(family, Cauchit()), 1e-5
    y = np.tile([0.0, 1.0, 0.3], 7)[:, None]
    u = np.linspace(-3, 3, 21)[:, None]
    for lower, upper in (("value", "gradient"), ("gradient", "hessian")):
        part = getattr(loss, lower)
        slope = (part(y, u + h) - part(y, u - h)) / (2 * h)
        exact = getattr(loss, upper)(y, u)
        np.testing.assert_allclose(exact.ravel(), slope.ravel(), rtol=1e-7, atol=1e-8)
    slope = (loss.hessian(y, u + h) - loss.hessian(y, u - h)) / (2 * h)
    np.testing.assert_allclose(loss.third(y, u).ravel(), slope.ravel(), atol=1e-7)
    assert not loss.convex  # not known
    assert not loss.bounded_domain


@dataclass(frozen=True)
class Below(AbstractLink):
    """``mu = -exp(-u)``: a mean with an upper end and no lower one."""

    lower = -np.inf
    upper = 0.0

    def mean(self, u):
        mean = -np.exp(-u)
        return mean, -mean, mean, -mean


def test_means_without_a_lower_end_are_separated_at_the_upper_one():
    loss, u = ExponentialFamilyLoss(Gaussian(), Below()), np.ones((2, 1))
    assert loss.separates(np.zeros((2, 1)), u)
    assert not loss.separates(np.array([[0.0], [-1.0]]), u)
    assert not loss.separates(np.zeros((2, 1)), -u)


def test_a_link_that_does_not_know_its_outputs_says_so():
    class Half(Cauchit):
        upper = 2.0

    with pytest.raises(NotImplementedError, match="between 0 and 1"):
        _ = ExponentialFamilyLoss(Binomial(), Half()).bounded_domain


# --- each pair ------------------------------------------------------------------------


@every_pair
def test_nothing_is_lost_in_the_tails(loss):
    y, u = grid_of(loss)
    for part in ("value", "gradient", "hessian", "third"):
        assert np.isfinite(getattr(loss, part)(y, u)).all(), part
    for part in ("response", "response_slope", "fisher_weight"):
        assert np.isfinite(getattr(loss, part)(u)).all(), part
    for part in ("unit_deviance", "pearson_residual"):
        assert np.isfinite(getattr(loss, part)(y, u)).all(), part
    assert (loss.fisher_weight(u) >= 0).all()
    deviance = loss.unit_deviance(y, u)
    assert (deviance >= -1e-13 * np.abs(deviance).max()).all()


@every_pair
def test_no_output_is_without_a_loss(loss):
    """However absurd: a line search may ask."""
    u = np.array([-1e300, -1e30, -1e3, -1.0, 0.0, 1.0, 1e3, 1e30, 1e300])[:, None]
    if loss.bounded_domain or loss.link in PROPORTIONS:
        u = u[2:-2]  # powers of u itself overflow there
    if loss.link == Identity() and not loss.bounded_domain:
        u = u[1:-1]
    y = cases.FAMILIES[loss.family](np.random.default_rng(0), len(u))
    for part in ("value", "gradient", "hessian", "third"):
        assert not np.isnan(getattr(loss, part)(y, u)).any(), part


@every_pair
def test_the_wall_stands_where_the_mean_leaves_the_family(loss):
    low, high = loss.link.outputs(loss.family.lower, loss.family.upper)
    y = cases.FAMILIES[loss.family](np.random.default_rng(0), 3)
    assert loss.bounded_domain == np.isfinite([low, high]).any()
    inside = grid_of(loss)[1]
    assert loss.within_domain(inside).all()
    mean = loss.response(inside)
    if loss.link not in PROPORTIONS:  # theirs round to 0 and 1
        assert ((mean > loss.family.lower) & (mean < loss.family.upper)).all()
    for end, outwards in ((low, -1.0), (high, 1.0)):
        if np.isinf(end):
            continue
        for u in (np.full((3, 1), end), np.full((3, 1), end + outwards)):
            assert not loss.within_domain(u).any()
            assert (loss.value(y, u) > 1e100).all()
            assert (loss.gradient(y, u) * outwards > 1e50).all()
            assert not loss.hessian(y, u).any()
            assert np.isfinite(loss.response(u)).all()


@every_pair
def test_convex_is_the_truth(loss):
    """Both ways: where it is not proved, some target has negative curvature."""
    _, u = grid_of(loss, n=400, most=12.0)
    ends = {
        "at least 0": [0.0, 1e3],
        "positive": [1e-3, 1e3],
        "between 0 and 1": [0, 1],
    }
    ends = ends.get(loss.targets, [-1e3, 1e3])
    bends = [loss.hessian(np.full_like(u, end), u)[:, 0, 0] for end in ends]
    rounding = 1e-10 * loss.fisher_weight(u)
    assert loss.convex == all((bend >= -rounding).all() for bend in bends)


def test_the_pairs_that_are_canonical():
    canonical = {(loss.family, loss.link) for loss in PAIRS if loss.canonical}
    assert canonical == {
        (Gaussian(), Identity()),
        (Binomial(), Logit()),
        (Poisson(), Log()),
        (Gamma(), Power(-1.0)),
        (InverseGaussian(), Power(-2.0)),
    }
    assert ExponentialFamilyLoss(Tweedie(1.5), Power(-0.5)).canonical


def test_the_families_that_know_their_dispersion():
    known = {loss.family for loss in PAIRS if loss.dispersion_known}
    assert known == {Binomial(), Poisson(), NegativeBinomial(0.7)}


@pytest.mark.parametrize(
    ("loss", "family", "link"),
    [
        (HalfSquaredError(), Gaussian(), Identity()),
        (HalfBinomialLoss(), Binomial(), Logit()),
        (HalfTweedieLoss(1.0), Poisson(), Log()),
        (HalfTweedieLoss(2.0), Gamma(), Log()),
        (HalfTweedieLoss(1.5), Tweedie(1.5), Log()),
        (HalfTweedieIdentityLoss(1.0), Poisson(), Identity()),
    ],
    ids=repr,
)
def test_the_fast_cases_are_those_of_the_family_and_the_link(loss, family, link):
    pair = ExponentialFamilyLoss(family, link)
    y, u = grid_of(pair, most=8.0)
    for part in ("gradient", "hessian", "unit_deviance", "pearson_residual"):
        own = getattr(loss, part)(y, u)
        whole = np.broadcast_to(getattr(pair, part)(y, u), own.shape)
        np.testing.assert_allclose(own, whole, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(loss.fisher_weight(u), pair.fisher_weight(u), rtol=1e-11)
    for name in ("convex", "canonical", "quadratic", "dispersion_known"):
        assert getattr(loss, name) == getattr(pair, name), name
    assert loss.bounded_domain == pair.bounded_domain


# --- expectations ---------------------------------------------------------------------


def moments(family, mu):
    """Targets and their probabilities (m,) at a mean; the dispersion that they have."""
    counts = np.arange(0.0, 2000.0)
    if family == Binomial():
        return np.array([0.0, 1.0]), np.array([1 - mu, mu]), 1.0
    if family == Poisson():
        return counts, stats.poisson.pmf(counts, mu), 1.0
    if family == NegativeBinomial(0.7):
        size = 1 / 0.7
        return counts, stats.nbinom.pmf(counts, size, size / (size + mu)), 1.0
    nodes, weights = np.polynomial.legendre.leggauss(400)
    quantiles, weights = (nodes + 1) / 2, weights / 2
    if family == Gaussian():
        return stats.norm.ppf(quantiles, mu, 0.3), weights, 0.3**2
    if family == Gamma():
        return stats.gamma.ppf(quantiles, 4.0, scale=mu / 4), weights, 1 / 4
    y = stats.invgauss.ppf(quantiles, mu * 0.2, scale=1 / 0.2)  # of shape 1 / 0.2
    return y, weights, 0.2


EXPECTED = [loss for loss in PAIRS if not isinstance(loss.family, Tweedie)]


@pytest.mark.parametrize("loss", EXPECTED, ids=repr)
def test_expected_information_is_the_expectation(loss):
    """Of the second derivative, and of the squared score, over the targets themselves."""
    u = cases.sample_of(loss).within(np.array([[-0.9], [0.2], [0.7]]))
    for output, mu in zip(u, loss.response(u)[:, 0], strict=True):
        y, probability, dispersion = moments(loss.family, mu)
        y, at = y[:, None], np.broadcast_to(output, (len(y), 1))
        information = loss.fisher_weight(output[None])[0, 0]
        bend = probability @ loss.hessian(y, at)[:, 0, 0, 0]
        assert bend == pytest.approx(information, rel=1e-3)
        score = probability @ loss.gradient(y, at)[:, 0] ** 2
        assert score == pytest.approx(dispersion * information, rel=1e-3)


def test_unit_deviance_of_the_textbooks():
    y, mu = np.array([[0.0], [1.0], [0.3]]), np.array([[0.2], [0.6], [0.4]])
    for link, u in ((Logit(), special.logit(mu)), (Probit(), special.ndtri(mu))):
        loss = ExponentialFamilyLoss(Binomial(), link)
        truth = binomial_deviance(y, mu)
        np.testing.assert_allclose(loss.unit_deviance(y, u), truth, rtol=1e-12)
    a, y, mu = 0.7, np.array([[0.0], [1.0], [5.0]]), np.array([[0.5], [3.0], [4.0]])
    truth = special.xlogy(y, y / mu) - (y + 1 / a) * np.log((1 + a * y) / (1 + a * mu))
    loss = ExponentialFamilyLoss(NegativeBinomial(a), Log())
    np.testing.assert_allclose(loss.unit_deviance(y, np.log(mu)), 2 * truth, rtol=1e-12)
    p = 1.5
    truth = y ** (2 - p) / ((1 - p) * (2 - p)) - y * mu ** (1 - p) / (1 - p)
    truth += mu ** (2 - p) / (2 - p)
    loss = ExponentialFamilyLoss(Tweedie(p), Log())
    np.testing.assert_allclose(loss.unit_deviance(y, np.log(mu)), 2 * truth, rtol=1e-12)


def test_the_negative_binomial_is_its_own_likelihood():
    y, mu, a = np.array([[0.0], [2.0], [9.0]]), np.array([[0.5], [3.0], [4.0]]), 0.7
    loss = ExponentialFamilyLoss(NegativeBinomial(a), Log())

    def likelihood(mu):
        return stats.nbinom.logpmf(y[:, 0], 1 / a, 1 / (1 + a * mu[:, 0]))

    change = loss.value(y, np.log(mu)) - loss.value(y, np.log(mu + 1))
    np.testing.assert_allclose(change, likelihood(mu + 1) - likelihood(mu), rtol=1e-12)
    with pytest.raises(InvalidParameterError, match="positive"):
        NegativeBinomial(0.0)


@every_pair
def test_all_of_it_is_written_in_the_array_standard(loss):
    xp = pytest.importorskip("array_api_strict")
    y, u = grid_of(loss, n=11, most=20.0)
    strict_y, strict_u = xp.asarray(y), xp.asarray(u)
    for part in ("third", "unit_deviance", "pearson_residual"):
        given = to_numpy(getattr(loss, part)(strict_y, strict_u))
        np.testing.assert_allclose(given, getattr(loss, part)(y, u), rtol=1e-11)
    for part in ("response", "response_slope", "fisher_weight", "within_domain"):
        given = to_numpy(getattr(loss, part)(strict_u))
        np.testing.assert_allclose(given, getattr(loss, part)(u), rtol=1e-11)


# --- no finite minimum ----------------------------------------------------------------


@every_proportion
def test_shares_that_are_all_alike_have_a_minimum(link):
    """Grouped data: only shares of 0, or only of 1, push the mean to an end."""
    loss = ExponentialFamilyLoss(Binomial(), link)
    assert not loss.one_sided(np.full((4, 1), 0.3))
    assert loss.one_sided(np.zeros((4, 1)))
    assert loss.one_sided(np.ones((4, 1)))
    y, u = np.array([[0.0], [1.0], [1.0]]), np.array([[-1.0], [2.0], [0.5]])
    assert loss.separates(y, u)
    assert not loss.separates(np.array([[0.0], [0.9], [1.0]]), u)


def test_counts_that_are_all_zero_have_no_minimum():
    for link in (Log(), Identity(), Power(0.5)):
        loss = ExponentialFamilyLoss(Poisson(), link)
        assert loss.one_sided(np.zeros((3, 1)))
        assert not loss.one_sided(np.array([[0.0], [1.0]]))
    assert not HalfSquaredError().one_sided(np.zeros((3, 1)))


# --- the contract ---------------------------------------------------------------------


def test_a_loss_has_to_say_whether_it_is_convex():
    class Silent(AbstractLoss):
        def n_groups(self, n_outputs):
            return n_outputs

        def value(self, y, u):
            return u

        gradient = hessian = value

    with pytest.raises(TypeError, match="convex"):
        Silent()


def test_what_a_loss_defines_is_what_it_has():
    class Plain(AbstractLoss):
        convex = True

        def n_groups(self, n_outputs):
            return n_outputs

        def value(self, y, u):
            return u[..., 0]

        def gradient(self, y, u):
            return u

        hessian = gradient

    class More(Plain):
        def third(self, y, u):
            return u

        def within_domain(self, u):
            return u[..., 0] > 0

        def unit_deviance(self, y, u):
            return u

        def response(self, u):
            return np.exp(u)

    names = ("has_third", "bounded_domain", "exponential_family")
    assert not any(getattr(Plain(), name) for name in (*names, "curves_in_single"))
    assert all(getattr(More(), name) for name in names)
    u = np.ones((2, 1))
    with pytest.raises(NotImplementedError, match="third"):
        Plain().third(u, u)
    with pytest.raises(NotImplementedError, match="dispersion_known"):
        _ = More().dispersion_known
    with pytest.raises(NotImplementedError, match="response_slope"):
        More().response_slope(u)


def test_wrappers_say_what_their_loss_says():
    for loss in (HalfBinomialLoss(), HalfTweedieLoss(3.0), HalfTweedieIdentityLoss()):
        repeated, expected = Repeated(loss, 2), ExpectedInformation(loss)
        assert repeated.convex == loss.convex
        assert repeated.has_third == loss.has_third
        assert repeated.bounded_domain == expected.bounded_domain == loss.bounded_domain
        assert expected.convex  # its hessian is the expected one


# --- whole fits -----------------------------------------------------------------------

DATA = Path(__file__).parent / "data"


@pytest.fixture(autouse=True)
def registered():
    """Register the model for one test."""
    register_estimator(
        GLM, lambda model: model.loss, strength=lambda model: model.alpha
    )
    yield
    del _table._TABLE[GLM]


@cache
def vaso():
    content = json.loads((DATA / "probit_vaso.json").read_text(encoding="utf-8"))
    arrays = {
        kind: {name: np.array(values, float) for name, values in content[kind].items()}
        for kind in ("fit", "one_step", "r")
    }
    loo = content["exact_loo"]
    loo = {name: np.array(loo[name]) for name in ("coef", "eta_i", "mu_i")}
    return np.array(content["X"]), np.array(content["y"], float), arrays | {"loo": loo}


def whole(params):
    """Intercept and coefficients, in the order of the file."""
    coef = np.reshape(params.coef, (len(params.coef), -1))
    return np.column_stack([np.ravel(params.intercept), coef])


def test_probit_fit_of_vaso_and_the_fits_without_each_row():
    X, y, truth = vaso()
    explainer = InfluenceExplainer(
        GLM(Binomial(), Probit()), deletion="exact", tol=1e-11
    )
    explainer.fit(X, y)
    fit = truth["fit"]["coef"][0]
    model = explainer.estimator_
    assert relative_error(np.r_[model.intercept_, model.coef_], fit) < 1e-9
    deltas = truth["loo"]["coef"][:, 0] - fit
    assert relative_error(whole(explainer.loo_params()), deltas) < 1e-8
    assert relative_error(explainer.loo_predict(), truth["loo"]["mu_i"]) < 1e-9


@pytest.mark.parametrize(
    ("deletion", "name", "sign"),
    [("jackknife", "delta_coef_ij", -1), ("newton", "delta_coef_newton", -1)],
)
def test_one_step_deletions_of_the_probit_use_the_observed_information(
    deletion, name, sign
):
    X, y, truth = vaso()
    explainer = InfluenceExplainer(GLM(Binomial(), Probit()), deletion=deletion)
    deltas = whole(explainer.fit(X, y).loo_params())
    assert relative_error(deltas, sign * truth["one_step"][name]) < 1e-8


def test_diagnostics_of_the_probit_are_those_of_r():
    X, y, truth = vaso()
    table = InfluenceExplainer(GLM(Binomial(), Probit())).fit(X, y).diagnostics()
    leverage = table["leverage"].to_numpy()
    assert relative_error(leverage, truth["one_step"]["hat_expected"]) < 1e-9
    for name, values in truth["r"].items():
        assert relative_error(table[name].to_numpy(), values) < 1e-7, name


N, P = 40, 2


def sample(name):
    """Rows (N, P), targets, weights, and the model of each kind of fit."""
    rng = np.random.default_rng(7)
    X = rng.uniform(-1.5, 1.5, size=(N, P))
    weight = rng.uniform(0.5, 2.0, N)
    u = 0.3 + X @ np.array([0.6, -0.4])
    if name == "cloglog":
        y = (rng.uniform(size=N) < CLogLog().mean(u)[0]).astype(float)
        return X, y, weight, GLM(Binomial(), CLogLog(), alpha=0.1)
    if name == "grouped loglog":
        trials = rng.integers(1, 9, N).astype(float)
        y = rng.binomial(trials.astype(int), LogLog().mean(u)[0]) / trials
        return X, y, trials, GLM(Binomial(), LogLog())
    if name == "probit":
        y = (rng.uniform(size=N) < Probit().mean(u)[0]).astype(float)
        return X, y, weight, GLM(Binomial(), Probit(), alpha=0.1)
    if name == "negative binomial":
        y = rng.poisson(rng.gamma(2.0, np.exp(u) / 2)).astype(float)
        return X, y, weight, GLM(NegativeBinomial(0.5), Log(), alpha=0.2)
    mu = 1 / (1.5 + 0.3 * np.tanh(X @ np.array([1.0, -1.0])))
    y = rng.gamma(5.0, mu / 5)
    if name == "inverse squared":
        return X, y, weight, GLM(InverseGaussian(), Power(-2.0), 0.5, start=2.0)
    return X, y, weight, GLM(Gamma(), Power(-1.0), alpha=0.5, start=1.5)


FITS = [
    *("probit", "cloglog", "grouped loglog"),
    *("inverse", "inverse squared", "negative binomial"),
]
every_fit = pytest.mark.parametrize("name", FITS)


@every_fit
def test_parameter_influence_of_a_fit_is_a_central_difference(name):
    X, y, weight, model = sample(name)
    explainer = InfluenceExplainer(model).fit(X, y, sample_weight=weight)
    assert explainer.stationarity_ < 1e-6
    rows, h = [0, 3, 11], 1e-4
    slopes = []
    for row in rows:
        ends = []
        for change in (h, -h):
            moved = weight.copy()
            moved[row] += change
            fit = clone(model).fit(X, y, sample_weight=moved)
            ends.append(np.r_[fit.intercept_, fit.coef_])
        slopes.append(weight.sum() * (ends[0] - ends[1]) / (2 * h))
    given = whole(explainer.param_influence(rows=rows))
    assert relative_error(given, np.array(slopes)) < 1e-6


@every_fit
def test_exact_deletions_of_a_fit_are_refits(name):
    X, y, weight, model = sample(name)
    explainer = InfluenceExplainer(model, deletion="exact", tol=1e-11)
    explainer.fit(X, y, sample_weight=weight)
    full, rows, deltas = explainer.estimator_, range(0, N, 5), []
    for row in rows:
        kept = np.arange(N) != row
        fit = clone(model).fit(X[kept], y[kept], sample_weight=weight[kept])
        change = fit.intercept_ - full.intercept_, *(fit.coef_ - full.coef_)
        deltas.append(change)
    given = whole(explainer.loo_params(rows=list(rows)))
    assert relative_error(given, np.array(deltas)) < 1e-7


@every_fit
def test_diagnostics_of_a_fit_are_the_textbooks(name):
    """By plain NumPy: hat values of the expected information, Pearson and deviance."""
    X, y, weight, model = sample(name)
    explainer = InfluenceExplainer(model, deletion="exact", tol=1e-11)
    table = explainer.fit(X, y, sample_weight=weight).diagnostics()
    loss, Z = model.loss, np.column_stack([np.ones(N), X])
    fit = explainer.estimator_
    u = fit.intercept_ + X @ fit.coef_
    mu, h = fit.predict(X), 1e-5
    slope = (loss.response((u + h)[:, None]) - loss.response((u - h)[:, None])) / (
        2 * h
    )
    variance = loss.variance(mu)
    w = weight * slope[:, 0] ** 2 / variance
    H = (Z.T * w) @ Z + np.diag([0.0] + [model.alpha] * P)
    leverage = w * np.sum(Z @ np.linalg.inv(H) * Z, axis=1)
    assert relative_error(table["leverage"].to_numpy(), leverage) < 1e-8
    pearson = np.sqrt(weight / variance) * (y - mu)
    assert relative_error(table["resid_pearson"].to_numpy(), pearson) < 1e-8
    for row in (2, 9):
        kept = np.arange(N) != row
        without = clone(model).fit(X[kept], y[kept], sample_weight=weight[kept])
        loo = y[row] - without.predict(X[row : row + 1])[0]
        assert table["loo_resid"][row] == pytest.approx(loo, rel=1e-7)
    assert np.isfinite(table.to_numpy()).all()


def test_grouped_shares_are_their_trials():
    """A row of three trials: the same fit and curvature as three rows of one."""
    X, y, trials, model = sample("grouped loglog")
    counts = trials.astype(int)
    hits = np.rint(y * trials).astype(int)
    singles = np.concatenate(
        [np.r_[np.ones(k), np.zeros(n - k)] for k, n in zip(hits, counts, strict=True)]
    )
    rows = np.repeat(np.arange(N), counts)
    grouped = InfluenceExplainer(model, deletion="exact", tol=1e-11)
    grouped.fit(X, y, sample_weight=trials)
    single = InfluenceExplainer(model, deletion="exact", tol=1e-11)
    single.fit(X[rows], singles)
    params = single.group_delta(X[:5], groups=rows)
    deltas = grouped.loo_delta(X[:5])
    assert relative_error(np.asarray(deltas), np.asarray(params)) < 1e-8


def test_targets_that_the_family_does_not_allow_are_named():
    X, y, _, model = sample("probit")
    y[4] = 1.2
    with pytest.raises(InvalidDataError, match=r"between 0 and 1; row 4 .* 1\.2"):
        InfluenceExplainer(model).fit(X, y)
    X, y, _, model = sample("inverse")
    explainer = InfluenceExplainer(model.fit(X, y))
    y[7] = 0.0
    with pytest.raises(InvalidDataError, match="positive; row 7"):
        explainer.fit(X, y)


def test_losses_are_frozen_and_told_apart_by_value():
    one = ExponentialFamilyLoss(Tweedie(1.5), Log())
    assert one == ExponentialFamilyLoss(Tweedie(1.5), Log())
    assert one != replace(one, link=Identity())
    assert hash(one) == hash(ExponentialFamilyLoss(Tweedie(1.5), Log()))
