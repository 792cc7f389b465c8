//! Conformance suites: what every store and every authority must do, whatever it is built on. Behind the feature `testing`.
