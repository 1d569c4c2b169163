//! Authentication, whole.
