"""The networks, one file each: kernel, noise, discriminator, EDSR."""
