//! One load by one client: `clients CLIENT produce|consume key=value...`. What is measured comes as one line of JSON. See bench/README.md.

mod krafka_client;
mod librdkafka;
mod meter;
mod options;
mod ottla;

use std::error::Error;

use options::{Load, Options};

type Outcome = Result<meter::Figures, Box<dyn Error + Send + Sync>>;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let client = arguments.next().unwrap_or_default();
    let options = Options::parse(arguments)?;
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let figures = match (client.as_str(), options.load) {
        ("ottla", Load::Produce) => runtime()?.block_on(ottla::produce(&options)),
        ("ottla", Load::Consume) => runtime()?.block_on(ottla::consume(&options)),
        ("krafka", Load::Produce) => runtime()?.block_on(krafka_client::produce(&options)),
        ("krafka", Load::Consume) => runtime()?.block_on(krafka_client::consume(&options)),
        ("rdkafka", Load::Produce) => librdkafka::produce(&options),
        ("rdkafka", Load::Consume) => librdkafka::consume(&options),
        _ => return Err(format!("{client:?} is no client: ottla, krafka or rdkafka").into()),
    }?;
    println!("{}", figures.json(&options));
    Ok(())
}
