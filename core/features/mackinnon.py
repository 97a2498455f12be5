"""Critical values of unit-root and cointegration tests, by MacKinnon's response surfaces.

J. G. MacKinnon (2010), Critical Values for Cointegration Tests, Queen's Economics Department Working Paper 1227,
table 2: the quantile of the t statistic in a sample of T is b0 + b1/T + b2/T^2 + b3/T^3. With one variable the
test is the (augmented) Dickey-Fuller test of a series that is given. With two it is Engle and Granger's, of the
residual of a regression: its slope was chosen to make the residual look stationary, so the values are lower.
"""

from typing import Literal

Level = Literal["1%", "5%", "10%"]

# As the paper prints it. A table in wide use has -33.527 for b2 of (2, 1%), where the paper has -22.527.
_WITH_CONSTANT: dict[tuple[int, Level], tuple[float, float, float, float]] = {
    (1, "1%"): (-3.43035, -6.5393, -16.786, -79.433),
    (1, "5%"): (-2.86154, -2.8903, -4.234, -40.040),
    (1, "10%"): (-2.56677, -1.5384, -2.809, 0.0),
    (2, "1%"): (-3.89644, -10.9519, -22.527, 0.0),
    (2, "5%"): (-3.33613, -6.1101, -6.823, 0.0),
    (2, "10%"): (-3.04445, -4.2412, -2.720, 0.0),
}


def critical_value(level: Level, variables: Literal[1, 2], observations: int) -> float:
    """The t statistic below which a unit root is rejected at `level`, with a constant in the test (or, with two
    variables, in the regression whose residual is tested); `observations` used by the test's regression."""
    b0, b1, b2, b3 = _WITH_CONSTANT[variables, level]
    return b0 + b1 / observations + b2 / observations**2 + b3 / observations**3
