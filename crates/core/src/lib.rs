//! The domain of Replica Count Manager, without I/O.
//!
//! Nothing here reads a clock, a file, a socket or the environment: time and randomness are parameters, so every rule
//! can be tested as a table. `DESIGN.md` defines the terms.

pub mod authorization;
pub mod autoscalers;
pub mod backoff;
pub mod bucket;
pub mod change;
pub mod clock;
pub mod conflict;
pub mod damping;
pub mod decide;
pub mod drift;
pub mod entry_target;
pub mod event;
pub mod failures;
pub mod guard;
pub mod history;
pub mod index;
pub mod kind;
pub mod leader;
pub mod lease;
pub mod managed_fields;
pub mod notice;
pub mod observed;
pub mod ordered_lookup;
pub mod own_writes;
pub mod pods;
pub mod policy;
pub mod queue;
pub mod record;
pub mod replicas;
pub mod scope;
pub mod series;
pub mod setting;
pub mod settings_file;
pub mod state;
pub mod steady;
pub mod step;
pub mod stored;
pub mod target;
pub mod uid;
pub mod words;
