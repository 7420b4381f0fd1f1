//! See [`tallystick_examples::two_councils`].

#[tokio::main]
async fn main() -> tallystick_examples::Outcome {
    let dir = tempfile::tempdir()?;
    Box::pin(tallystick_examples::two_councils::run(dir.path(), &mut std::io::stdout())).await
}
