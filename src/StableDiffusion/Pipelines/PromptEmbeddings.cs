namespace StableDiffusion.Pipelines;

/// <summary>Prompts after the text encoder(s), on the host: what diffusers' encode_prompt returns. One entry per prompt.</summary>
public sealed record PromptEmbeddings
{
    /// <summary>prompt_embeds <c>[N,T,C]</c>.</summary>
    public required FloatTensor Prompt { get; init; }

    /// <summary>negative_prompt_embeds <c>[N,T,C]</c>; needed for guidance above 1.</summary>
    public FloatTensor? Negative { get; init; }

    /// <summary>SDXL: pooled_prompt_embeds <c>[N,P]</c>.</summary>
    public FloatTensor? Pooled { get; init; }

    /// <summary>SDXL: negative_pooled_prompt_embeds <c>[N,P]</c>.</summary>
    public FloatTensor? NegativePooled { get; init; }

    /// <summary>What the tokenizer had to leave out, one sentence per prompt that was too long.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];

    /// <summary>Number of prompts.</summary>
    public int Count => Prompt[0];
}
