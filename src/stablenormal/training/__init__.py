"""Training of a model's parts: autoencoder, semantic encoder, upsampler, YOSO, refiner, one-step angular tuning."""
