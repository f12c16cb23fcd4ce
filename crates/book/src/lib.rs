//! Builds the book of the course: mdBook as a library, our own blocks, and
//! checks that make a fault in a chapter an error instead of an odd page.
//!
//! | a chapter has                            | it becomes                     |
//! | ---------------------------------------- | ------------------------------ |
//! | `{{#include path:anchor}}` in a block    | a listing with its path above  |
//! | a block named `transcript`               | what happens in two terminals  |
//! | a block named `mutant`                   | an experiment to try           |
//! | a block named `promises`                 | what a lab promises, and why   |
//!
//! [`Site::build`] renders every language into `target/book`; [`Blocks`] is
//! mdBook's preprocessor alone, for those who run `mdbook build book`.

mod accessible;
mod blocks;
mod include;
mod links;
mod log;
pub mod mutants;
mod promises;
mod serve;
mod site;
mod text;
pub mod transcript;

pub use blocks::Blocks;
pub use serve::serve;
pub use site::{Problems, Site};
