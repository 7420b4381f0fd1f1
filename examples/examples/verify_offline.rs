//! See [`tallystick_examples::verify_offline`].

fn main() -> tallystick_examples::Outcome {
    tallystick_examples::verify_offline::run(&mut std::io::stdout().lock())
}
