namespace StableDiffusion.Pipelines;

/// <summary>The sizes of one denoise loop.</summary>
/// <param name="Prompts">Prompts, each encoded once.</param>
/// <param name="Images">Entries of the latents.</param>
/// <param name="Guided">Whether the UNet also sees the negative prompt.</param>
/// <param name="GuidanceScale">How strongly to follow the prompt.</param>
/// <param name="ImageHeight">Pixels.</param>
/// <param name="ImageWidth">Pixels.</param>
/// <param name="Height">Of the latents.</param>
/// <param name="Width">Of the latents.</param>
/// <param name="Channels">Of the latents.</param>
/// <param name="Tokens">Of a prompt.</param>
internal sealed record GenerationShape(int Prompts, int Images, bool Guided, double GuidanceScale, int ImageHeight, int ImageWidth, int Height, int Width, int Channels, int Tokens)
{
    /// <summary>Channels that the UNet takes beside the latents: a mask, another picture's latents, depth.</summary>
    public int ExtraChannels { get; init; }

    /// <summary>With a value, guidance is by prompt and by picture, in three parts, and this is the weight of the picture.</summary>
    public double? ImageGuidanceScale { get; init; }

    /// <summary>Whether a part of a picture is put back after each step.</summary>
    public bool KeepsPart { get; init; }

    /// <summary>Channels of the UNet's input.</summary>
    public int InputChannels => Channels + ExtraChannels;

    /// <summary>Parts of the UNet's batch: the prompt alone, with the negative prompt, or (prompt, picture alone, neither).</summary>
    public int Parts => !Guided ? 1 : ImageGuidanceScale is null ? 2 : 3;

    /// <summary>Entries per UNet call.</summary>
    public int UnetBatch => Parts * Images;

    /// <summary>
    /// Entries of the UNet's input: one per image, which the parts of the batch share; instructions, whose parts see different channels, have one per entry.
    /// </summary>
    public int SampleBatch => ImageGuidanceScale is null ? Images : UnetBatch;

    /// <summary>First entry of the prompt's part: diffusers has the negative prompt first, but the prompt first where there are three parts.</summary>
    public int PromptStart => Parts == 2 ? Images : 0;

    /// <summary>The calls in which guidance is off: the prompt's part alone.</summary>
    public GenerationShape PromptAlone => this with { Guided = false };
}
