//! How much of the processors other programs took while something was measured: on a machine that
//! is not quiet, waiting for a processor is easily taken for waiting for the disk.

use std::fs;

use crate::Result;

/// Above this part of all processors a figure says more about the others than about us.
pub const QUIET_MAX: f64 = 0.10;

/// Processor time so far, in the kernel's ticks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ticks {
    /// All of the machine, idle or not.
    all: u64,
    /// What was not idle, and what the host kept for itself.
    busy: u64,
    /// This process and its children that have ended.
    own: u64,
}

impl Ticks {
    /// What the kernel says now.
    ///
    /// # Errors
    /// If it does not say.
    pub fn now() -> Result<Self> {
        let machine = fs::read_to_string("/proc/stat")?;
        let own = fs::read_to_string("/proc/self/stat")?;
        Ok(Self::parse(&machine, &own).ok_or("/proc/stat or /proc/self/stat is not as expected")?)
    }

    fn parse(machine: &str, own: &str) -> Option<Self> {
        let line = machine.lines().find_map(|line| line.strip_prefix("cpu "))?;
        // The last two, guests, are in the first two already.
        let ticks: Vec<u64> =
            line.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
        let all: u64 = ticks.iter().sum();
        let idle = ticks.get(3)? + ticks.get(4)?;
        // The program's name may hold spaces; what follows its bracket does not.
        let fields = own.rsplit_once(')')?.1.split_whitespace();
        let times = fields.skip(11).take(4).map(str::parse::<u64>);
        let times: Vec<u64> = times.collect::<Result<_, _>>().ok()?;
        (times.len() == 4).then_some(Self { all, busy: all - idle, own: times.iter().sum() })
    }

    /// The part of all processors that others took since `before`.
    pub fn others_since(self, before: Self) -> f64 {
        let others = (self.busy - before.busy).saturating_sub(self.own - before.own);
        others as f64 / (self.all - before.all).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "7 (a (b) c) S 1 1 1 0 -1 0 0 0 0 0 100 20 3 4 20 0";

    #[test]
    fn others_are_what_is_neither_idle_nor_ours() {
        let before = Ticks::parse("cpu  10 0 5 80 5 0 0 0 0 0\n", OWN).unwrap();
        assert_eq!(before, Ticks { all: 100, busy: 15, own: 127 });
        let after = Ticks { all: 300, busy: 135, own: 187 };
        assert_eq!(after.others_since(before), 0.3);
    }

    #[test]
    fn nothing_is_guessed() {
        assert_eq!(Ticks::parse("cpu  1 2\n", OWN), None);
        assert_eq!(Ticks::parse("cpu  1 2 3 4 5 6 7 8 9 9\n", "7 (a) S 1"), None);
        assert!(Ticks::now().unwrap().all > 0);
    }
}
