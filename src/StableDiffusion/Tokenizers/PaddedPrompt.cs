using System.Collections.Immutable;

namespace StableDiffusion.Tokenizers;

/// <summary>A prompt as the text encoder takes it.</summary>
/// <param name="Ids">Exactly as many ids as the encoder has positions (77): start, the tokens, end, padding.</param>
/// <param name="TokenCount">Tokens of the whole prompt, without start, end and padding.</param>
/// <param name="DroppedTokenCount">How many of them, from the end of the prompt, did not fit.</param>
/// <param name="DroppedText">The text of those, cleaned and lower-cased; empty if everything fitted.</param>
public sealed record PaddedPrompt(ImmutableArray<int> Ids, int TokenCount, int DroppedTokenCount, string DroppedText);
