//! A collection of the state that a capture takes along without copying it: the first change while the capture still
//! has it copies it. Most are empty or left alone, so that is rare.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::field::{Corrupt, Field};
use super::hasher::StateHasher;

/// A collection that can be empty without an allocation, and that a shared empty one stands in for.
pub trait Blank: Clone + Default + 'static {
    /// The empty one.
    const BLANK: &'static Self;
}

impl<T: Clone + 'static> Blank for Vec<T> {
    const BLANK: &'static Self = &Self::new();
}

impl<T: Clone + 'static> Blank for VecDeque<T> {
    const BLANK: &'static Self = &Self::new();
}

impl<K: Clone + Ord + 'static, V: Clone + 'static> Blank for BTreeMap<K, V> {
    const BLANK: &'static Self = &Self::new();
}

/// A value that is cloned by reference and copied on write. An empty one that was never written to holds nothing.
#[derive(Clone, Default)]
pub struct Shared<T: Blank>(Option<Arc<T>>);

impl<T: Blank> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self(Some(Arc::new(value)))
    }
}

impl<T: Blank> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::BLANK)
    }
}

impl<T: Blank> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(self.0.get_or_insert_default())
    }
}

impl<T: Blank + fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Blank + PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Blank + Eq> Eq for Shared<T> {}

impl<T: Blank + Field> Field for Shared<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (**self).put(out);
    }
    fn get(input: &mut &[u8]) -> Result<Self, Corrupt> {
        Ok(T::get(input)?.into())
    }
    fn mix(&self, hasher: &mut StateHasher) {
        (**self).mix(hasher);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_to_one_of_two_leaves_the_other_as_it_was() {
        let mut one = Shared::<Vec<u8>>::default();
        one.push(1);
        let other = one.clone();
        one.push(2);
        assert_eq!((&**one, &**other), (&[1, 2][..], &[1][..]));
    }

    #[test]
    fn an_empty_one_equals_one_that_was_emptied() {
        let mut emptied = Shared::<VecDeque<u8>>::default();
        emptied.push_back(1);
        emptied.clear();
        assert_eq!(emptied, Shared::default());
    }
}
