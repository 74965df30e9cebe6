namespace StableDiffusion.Cli.Bench.Peers;

/// <summary>What another program took for the same phases, or why it did not run.</summary>
/// <param name="Program">Its name and version.</param>
/// <param name="DType">How it kept and multiplied the weights; null where it did not run.</param>
/// <param name="Seconds">By phase; a phase that it has no time for is missing.</param>
/// <param name="Note">What else there is to say: that it was not found and how to add it, or a failure.</param>
internal sealed record PeerResult(string Program, string? DType, IReadOnlyDictionary<string, double> Seconds, string? Note = null)
{
    /// <summary>One that did not run.</summary>
    internal static PeerResult Missing(string program, string why) => new(program, null, new Dictionary<string, double>(), why);
}

/// <summary>What <c>bench --compare</c> was told about the peers.</summary>
/// <param name="Python">The interpreter to ask for PyTorch.</param>
/// <param name="Cpp">The program of stable-diffusion.cpp; null: whichever is on the PATH.</param>
/// <param name="Checkpoint">What stable-diffusion.cpp draws with, which needs real weights.</param>
/// <param name="DTypes">The types of weights to time, as the command line names them.</param>
internal sealed record PeerChoice(string Python, string? Cpp, string? Checkpoint, IReadOnlyList<string> DTypes);
