//! Amounts of money: integer minor units and a currency, never a float.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::text::{code_list, document};

/// A currency as given; well formed if it has the shape of an ISO 4217 code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Currency(String);

impl Currency {
    /// A currency from its text, which is kept as given.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Pound sterling.
    #[must_use]
    pub fn gbp() -> Self {
        Self("GBP".to_owned())
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is three capital ASCII letters.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        self.0.len() == 3 && self.0.bytes().all(|b| b.is_ascii_uppercase())
    }

    /// Decimal digits of the minor unit by ISO 4217 (list one): 2 unless the code says otherwise.
    #[must_use]
    pub fn exponent(&self) -> u32 {
        match self.0.as_str() {
            "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF"
            | "UGX" | "UYI" | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => 0,
            "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
            "CLF" | "UYW" => 4,
            _ => 2,
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

document! {
    /// An amount in one currency.
    pub struct Money {
        /// Minor units: pence for GBP, whole units where the currency has no minor unit.
        pub amount: Option<i64>,
        /// Currency.
        pub currency: Option<Currency>,
    }
}

impl Money {
    /// `amount` minor units of `currency`.
    #[must_use]
    pub fn new(amount: i64, currency: impl Into<String>) -> Self {
        Self { amount: Some(amount), currency: Some(Currency::new(currency)) }
    }
}

code_list! {
    /// Whether value added tax is part of an amount.
    pub enum VatBasis {
        /// It is.
        Included = "included",
        /// It is not.
        Excluded = "excluded",
        /// The source does not say.
        Unknown = "unknown",
    }
}

code_list! {
    /// What an amount says about the money spent.
    pub enum ValueKind {
        /// The agreed or spent sum.
        Actual = "actual",
        /// The most that may be spent, as for a framework.
        Ceiling = "ceiling",
        /// A plan.
        Estimate = "estimate",
        /// The source does not say.
        Unknown = "unknown",
    }
}

document! {
    /// The value of a contract or plan (OCDS `Value` with its basis).
    pub struct Value {
        /// Minor units; with or without tax as `vat` says.
        pub amount: Option<i64>,
        /// The amount with tax, if the source gives both (UK profile `amountGross`).
        pub amount_gross: Option<i64>,
        /// Currency.
        pub currency: Option<Currency>,
        /// Whether tax is part of `amount`.
        pub vat: Option<VatBasis>,
        /// Actual sum, ceiling or estimate.
        pub kind: Option<ValueKind>,
    }
}

impl Value {
    /// `amount` minor units of `currency`, without a word on tax or kind.
    #[must_use]
    pub fn new(amount: i64, currency: impl Into<String>) -> Self {
        Self { amount: Some(amount), currency: Some(Currency::new(currency)), ..Self::default() }
    }
}

/// Writes minor units as a decimal number: `1234` at exponent 2 gives `12.34`.
#[must_use]
pub fn decimal(amount: i64, exponent: u32) -> String {
    let digits = usize::try_from(exponent).unwrap_or(0);
    let sign = if amount < 0 { "-" } else { "" };
    let text = format!("{:0>width$}", amount.unsigned_abs(), width = digits + 1);
    match text.split_at_checked(text.len().saturating_sub(digits)) {
        Some((whole, part)) if !part.is_empty() => format!("{sign}{whole}.{part}"),
        _ => format!("{sign}{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_units_are_written_as_decimals() {
        assert_eq!(decimal(1234, 2), "12.34");
        assert_eq!(decimal(5, 2), "0.05");
        assert_eq!(decimal(-5, 2), "-0.05");
        assert_eq!(decimal(7, 0), "7");
        assert_eq!(decimal(i64::MIN, 3), "-9223372036854775.808");
    }

    #[test]
    fn currencies_know_their_minor_unit() {
        for (code, exponent) in [("GBP", 2), ("COP", 2), ("JPY", 0), ("PYG", 0), ("KWD", 3)] {
            assert_eq!(Currency::new(code).exponent(), exponent, "{code}");
        }
        assert!(!Currency::new("gbp").is_well_formed());
    }
}
