//! See [`tallystick_examples::withhold_a_price`].

fn main() -> tallystick_examples::Outcome {
    tallystick_examples::withhold_a_price::run(&mut std::io::stdout().lock())
}
