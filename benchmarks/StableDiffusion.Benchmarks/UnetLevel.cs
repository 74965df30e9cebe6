namespace StableDiffusion.Benchmarks;

/// <summary>A level of the UNet of Stable Diffusion 1.5 at 512x512, named by its height, width and channels.</summary>
public enum UnetLevel
{
    /// <summary>64x64 pixels, 320 channels.</summary>
    H64W64C320,
    /// <summary>32x32 pixels, 640 channels.</summary>
    H32W32C640,
    /// <summary>16x16 pixels, 1280 channels.</summary>
    H16W16C1280,
}

/// <summary>The numbers that the UNet's layers share.</summary>
static class Unet
{
    /// <summary>One guided step: with and without the prompt.</summary>
    public const int Batch = 2;

    /// <summary>Heads of every attention; the head size is channels / 8.</summary>
    public const int Heads = 8;

    /// <summary>Tokens of a prompt.</summary>
    public const int ContextTokens = 77;

    /// <summary>Channels of the prompt's tokens.</summary>
    public const int ContextChannels = 768;

    /// <summary>Channels of the time embedding.</summary>
    public const int EmbeddingChannels = 1280;

    /// <summary>Groups of the norms.</summary>
    public const int Groups = 32;

    /// <summary>Height and width in latent pixels.</summary>
    public static int Size(this UnetLevel level) => 64 >> (int)level;

    /// <summary>Channels.</summary>
    public static int Channels(this UnetLevel level) => 320 << (int)level;
}
