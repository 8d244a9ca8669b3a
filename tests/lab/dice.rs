//! Chance that can be had again.

/// A sequence that is the same for the same seed.
pub struct Dice(pub u64);

impl Dice {
    /// A number below `n`; 0 where that is 0.
    pub fn below<N: TryInto<u64> + TryFrom<u64>>(&mut self, n: N) -> N {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let n: u64 = n.try_into().ok().expect("not negative");
        N::try_from((self.0 >> 33) % n.max(1)).ok().expect("below another one of its kind")
    }

    /// One of several.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}
