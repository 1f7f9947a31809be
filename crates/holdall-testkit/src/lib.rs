//! How we know: conformance suite, strict and faulty backends, simulation, damage, model.
