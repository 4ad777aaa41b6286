//! The end of records, as operators bring it about: who may let them go, and what is left of them.

mod after;
mod archive;
mod scene;
mod two_people;
