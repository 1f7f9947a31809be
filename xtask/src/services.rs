//! `cargo x services`: the real servers that the tests run against.

use holdall_services::{ALL, Service, State};

use crate::run::Result;

/// Starts, ends or shows the servers named, or all.
///
/// # Errors
/// If one is not known, cannot be started, or cannot be ended.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (action, names) = match arguments.split_first() {
        Some((action, names)) => (action.as_str(), names),
        None => ("status", &[][..]),
    };
    let services = chosen(names)?;
    match action {
        "up" => services.into_iter().try_for_each(up),
        "down" => services.into_iter().try_for_each(holdall_services::down),
        "status" => services.into_iter().try_for_each(status),
        unknown => Err(format!("there is no `services {unknown}`; write up, down or status")),
    }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Service>> {
    if names.is_empty() {
        return Ok(ALL.to_vec());
    }
    let find = |name: &String| {
        ALL.iter().copied().find(|service| service.name == name).ok_or_else(|| {
            let known: Vec<_> = ALL.iter().map(|service| service.name).collect();
            format!("there is no service `{name}`; there are {}", known.join(", "))
        })
    };
    names.iter().map(find).collect()
}

fn up(service: &'static Service) -> Result<()> {
    let started = holdall_services::shared(service)?;
    println!("{:12} up, port {}", service.name, started.port);
    Ok(())
}

fn status(service: &'static Service) -> Result<()> {
    match holdall_services::state(service)? {
        State::Up { pid, port } => println!("{:12} up, port {port}, pid {pid}", service.name),
        State::Down => println!("{:12} down", service.name),
    }
    Ok(())
}
