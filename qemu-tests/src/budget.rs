//! The budget of sizes, memory and times (`.config/budget.toml`), and measured values beside it.

use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The groups of values, in the order of the table: a table of the file, its unit, and whether more than the budget is
/// a failure.
const GROUPS: [(&str, &str, bool); 3] =
    [("sizes", "KiB", true), ("memory", "MiB", false), ("times", "s", false)];

/// Values by group and name.
pub type Values = BTreeMap<&'static str, BTreeMap<String, f64>>;

/// The recorded budget.
#[derive(Debug)]
pub struct Budget(BTreeMap<String, BTreeMap<String, f64>>);

impl Budget {
    /// Reads the file of this checkout.
    pub fn read() -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.config/budget.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("reading {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let tables: BTreeMap<String, BTreeMap<String, toml::Value>> = toml::from_str(text)?;
        let mut budget = BTreeMap::new();
        for (group, values) in tables {
            ensure!(GROUPS.iter().any(|(name, ..)| *name == group), "unknown table [{group}]");
            let mut numbers = BTreeMap::new();
            for (name, value) in values {
                #[expect(clippy::cast_precision_loss, reason = "budgets are small numbers")]
                let number = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
                let number = number.filter(|number| *number > 0.0);
                numbers
                    .insert(name.clone(), number.with_context(|| format!("{group}: {name} has no budget"))?);
            }
            budget.insert(group, numbers);
        }
        Ok(Self(budget))
    }

    /// A table of the values beside their budgets, and what is wrong: sizes over their budget, measured values without
    /// a budget, and sizes that were not measured. Memory and times may be missing, if the tests that measure them did
    /// not run.
    #[must_use]
    pub fn compare(&self, measured: &Values) -> (String, Vec<String>) {
        let (mut table, mut wrong) = (String::new(), Vec::new());
        let none = BTreeMap::new();
        let _ = writeln!(table, "{:<34} {:>10} {:>10} {:>7}", "", "now", "budget", "%");
        for (group, unit, fails) in GROUPS {
            let values = measured.get(group).unwrap_or(&none);
            let budgets = self.0.get(group).unwrap_or(&none);
            for (name, budget) in budgets {
                let label = format!("{name}, {unit}");
                let Some(now) = values.get(name) else {
                    let _ = writeln!(table, "{label:<34} {:>10} {budget:>10.1}", "-");
                    if fails {
                        wrong.push(format!("{name} was not measured"));
                    }
                    continue;
                };
                let percent = now / budget * 100.0;
                let _ = writeln!(table, "{label:<34} {now:>10.1} {budget:>10.1} {percent:>7.0}");
                if fails && now > budget {
                    wrong
                        .push(format!("{name} has {now:.1} {unit}, more than its budget of {budget} {unit}"));
                }
            }
            let unknown = values.keys().filter(|name| !budgets.contains_key(*name));
            wrong.extend(unknown.map(|name| format!("{name} has no budget in [{group}]")));
        }
        (table, wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(group: &'static str, values: &[(&str, f64)]) -> Values {
        Values::from([(group, values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect())])
    }

    #[test]
    fn only_a_size_over_its_budget_is_wrong() {
        let budget = Budget::parse("[sizes]\nagent = 10\n[times]\nboot = 2.5\n").unwrap();
        let wrong = |measured| budget.compare(&measured).1;
        assert_eq!(wrong(values("sizes", &[("agent", 10.0)])), Vec::<String>::new());
        assert_eq!(
            wrong(values("sizes", &[("agent", 10.1)])),
            ["agent has 10.1 KiB, more than its budget of 10 KiB"]
        );
        let mut all = values("sizes", &[("agent", 5.0)]);
        all.extend(values("times", &[("boot", 5.0)]));
        let (table, wrong) = budget.compare(&all);
        assert_eq!(wrong, Vec::<String>::new(), "times are only printed");
        let row = |name: &str| {
            let row = table.lines().find(|line| line.starts_with(name)).unwrap();
            row.split_whitespace().skip(2).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(row("agent"), ["5.0", "10.0", "50"]);
        assert_eq!(row("boot"), ["5.0", "2.5", "200"]);
    }

    #[test]
    fn what_has_no_budget_or_was_not_measured_is_wrong() {
        let budget = Budget::parse("[sizes]\nagent = 10\n[times]\nboot = 2.5\n").unwrap();
        assert_eq!(
            budget.compare(&values("sizes", &[("root", 1.0)])).1,
            ["agent was not measured", "root has no budget in [sizes]"]
        );
        assert_eq!(budget.compare(&values("sizes", &[("agent", 1.0)])).1, Vec::<String>::new());
        for (text, problem) in [
            ("[speed]\na = 1\n", "unknown table [speed]"),
            ("[sizes]\na = 0\n", "sizes: a has no budget"),
            ("[sizes]\na = \"1\"\n", "sizes: a has no budget"),
        ] {
            assert_eq!(Budget::parse(text).unwrap_err().to_string(), problem);
        }
    }

    #[test]
    fn the_recorded_budget_has_all_groups() {
        let budget = Budget::read().unwrap();
        for (group, ..) in GROUPS {
            assert!(budget.0.get(group).is_some_and(|values| !values.is_empty()), "{group}");
        }
    }
}
