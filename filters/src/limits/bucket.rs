use std::time::Duration;

/// What a bucket is held to. Part of the configuration; the [`Bucket`] is the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    amount: u64,
    per: u64,
    capacity: u64,
}

/// How much of a [`Shape`] is used, and since when. `Bucket::default()` is full (nothing used).
///
/// `used` is in parts of the `per` that it was last touched with; a shape with another period rescales it, rounding up by less
/// than one part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    used: u128,
    /// Latest `now` seen, nanoseconds. Never goes back: a clock that does refills nothing until it has caught up.
    at: u64,
    /// 0: never touched.
    per: u64,
}

/// Not enough is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short {
    /// Time until the same take can succeed, if nobody else takes in between. [`Duration::MAX`] where it never can.
    pub wait: Duration,
    /// More than the capacity was asked for: no wait helps.
    pub impossible: bool,
}

impl Shape {
    /// `amount` units per `per`, of which `burst` may be taken at once (unset: `amount`). An amount of 0 never refills; a
    /// period is at least one nanosecond and at most 584 years.
    pub fn new(amount: u64, per: Duration, burst: Option<u64>) -> Shape {
        let per = u64::try_from(per.as_nanos()).unwrap_or(u64::MAX).max(1);
        Shape { amount, per, capacity: burst.unwrap_or(amount) }
    }

    /// Most units that can be taken at once.
    pub const fn capacity(&self) -> u64 {
        self.capacity
    }

    const fn parts(&self, units: u64) -> u128 {
        units as u128 * self.per as u128
    }

    /// Time in which so many parts come back.
    fn time_for(&self, parts: u128) -> Duration {
        if parts == 0 {
            return Duration::ZERO;
        }
        if self.amount == 0 {
            return Duration::MAX;
        }
        let nanos = parts.div_ceil(u128::from(self.amount));
        u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
    }
}

impl Bucket {
    /// Whether `units` could be taken now. Changes nothing, so several buckets can be asked before any is taken from.
    pub fn check(&self, shape: &Shape, units: u64, now: u64) -> Result<(), Short> {
        if units > shape.capacity {
            return Err(Short { wait: Duration::MAX, impossible: true });
        }
        let wanted = self.used_at(shape, now).saturating_add(shape.parts(units));
        let over = wanted.saturating_sub(shape.parts(shape.capacity));
        if over == 0 || units == 0 {
            // Taking nothing always works, also from a bucket in debt.
            return Ok(());
        }
        Err(Short { wait: shape.time_for(over), impossible: false })
    }

    /// Takes `units`, or nothing.
    pub fn take(&mut self, shape: &Shape, units: u64, now: u64) -> Result<(), Short> {
        self.check(shape, units, now)?;
        self.charge(shape, units, now);
        Ok(())
    }

    /// Takes `units` whether they are there or not: what has already been spent. May leave the bucket in debt.
    pub fn charge(&mut self, shape: &Shape, units: u64, now: u64) {
        self.catch_up(shape, now);
        self.used = self.used.saturating_add(shape.parts(units));
    }

    /// Gives `units` back. Never more than was used.
    pub fn refund(&mut self, shape: &Shape, units: u64, now: u64) {
        self.catch_up(shape, now);
        self.used = self.used.saturating_sub(shape.parts(units));
    }

    /// Replaces a reservation of `reserved` units by the `actual` ones.
    ///
    /// What refilled since the reservation counts for both alike, except that a bucket which refilled completely in between has
    /// forgotten the reservation: a refund then stops at full, as it must.
    pub fn settle(&mut self, shape: &Shape, reserved: u64, actual: u64, now: u64) {
        match actual.checked_sub(reserved) {
            Some(more) => self.charge(shape, more, now),
            None => self.refund(shape, reserved - actual, now),
        }
    }

    /// Whole units left; 0 in debt.
    pub fn remaining(&self, shape: &Shape, now: u64) -> u64 {
        let left = shape.parts(shape.capacity).saturating_sub(self.used_at(shape, now));
        // At most the capacity, which is a u64.
        u64::try_from(left / u128::from(shape.per)).unwrap_or(u64::MAX)
    }

    /// Time until nothing is used any more.
    pub fn full_in(&self, shape: &Shape, now: u64) -> Duration {
        shape.time_for(self.used_at(shape, now))
    }

    /// Whether nothing is used: the state of a bucket that never was, so it can be forgotten without giving anything away.
    pub fn is_full(&self, shape: &Shape, now: u64) -> bool {
        self.used_at(shape, now) == 0
    }

    /// Parts used at `now`, in `shape`'s parts.
    fn used_at(&self, shape: &Shape, now: u64) -> u128 {
        if self.used == 0 {
            return 0;
        }
        let used = if self.per == shape.per { self.used } else { rescale(self.used, self.per, shape.per) };
        let back = u128::from(now.saturating_sub(self.at)) * u128::from(shape.amount);
        used.saturating_sub(back)
    }

    fn catch_up(&mut self, shape: &Shape, now: u64) {
        self.used = self.used_at(shape, now);
        self.at = self.at.max(now);
        self.per = shape.per;
    }
}

/// Parts of one period as parts of another, rounded up: a reload gives nothing away.
fn rescale(parts: u128, from: u64, to: u64) -> u128 {
    let (from, to) = (u128::from(from.max(1)), u128::from(to));
    let (units, rest) = (parts / from, parts % from);
    units.saturating_mul(to).saturating_add((rest * to).div_ceil(from))
}

#[cfg(test)]
mod tests;
