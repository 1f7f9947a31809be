//! Medians and spreads of a few measurements.

/// The middle of some figures, or of the two in the middle; `None` of none.
pub fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The least and the greatest of some figures; `None` of none.
pub fn spread(figures: &[f64]) -> Option<(f64, f64)> {
    let least = figures.iter().copied().min_by(f64::total_cmp)?;
    let greatest = figures.iter().copied().max_by(f64::total_cmp)?;
    Some((least, greatest))
}

/// The median of the quotients of figures that were taken in the same round. Rounds that only one
/// of the two has are left out; `None` if there is no other.
pub fn median_quotient(dividends: &[f64], divisors: &[f64]) -> Option<f64> {
    let pairs = dividends.iter().zip(divisors).filter(|(_, divisor)| **divisor != 0.0);
    let quotients: Vec<f64> = pairs.map(|(dividend, divisor)| dividend / divisor).collect();
    median(&quotients)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_does_not_care_for_order_or_outliers() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[1e9, 1.0, 3.0, 2.0]), Some(2.5));
    }

    #[test]
    fn a_spread_is_the_least_and_the_greatest() {
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[2.0, -1.0, 7.0]), Some((-1.0, 7.0)));
    }

    #[test]
    fn quotients_are_taken_within_a_round() {
        // The disk is ten times slower in the second round, for both.
        assert_eq!(median_quotient(&[50.0, 5.0, 60.0], &[100.0, 10.0, 100.0]), Some(0.5));
        assert_eq!(median_quotient(&[1.0], &[]), None);
        assert_eq!(median_quotient(&[1.0, 4.0], &[0.0, 2.0]), Some(2.0));
    }
}
