namespace StableDiffusion.Weights;

/// <summary>What happens to a tensor on its way from one name to another.</summary>
public enum TensorChange
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>A matrix <c>[a, b]</c> becomes <c>[b, a]</c>.</summary>
    Transpose,

    /// <summary>The kernel of a 1x1 convolution <c>[out, in, 1, 1]</c> becomes a matrix <c>[out, in]</c>; a matrix stays one.</summary>
    Squeeze,

    /// <summary>A matrix <c>[out, in]</c> becomes the kernel of a 1x1 convolution <c>[out, in, 1, 1]</c>; a kernel stays one. Biases stay as they are.</summary>
    Unsqueeze,
}

/// <summary>How a tensor is made from those of another source.</summary>
/// <param name="Sources">Names there: one, or several of equal type whose rows are put below one another.</param>
/// <param name="Part">Which of <paramref name="Parts"/> equal groups of rows is taken, from 0.</param>
/// <param name="Parts">Into how many groups the rows are cut; 1 takes all.</param>
/// <param name="Change">What else happens.</param>
public sealed record TensorMapping(IReadOnlyList<string> Sources, int Part = 0, int Parts = 1, TensorChange Change = TensorChange.None)
{
    /// <summary>A tensor under another name.</summary>
    public TensorMapping(string source) : this([source]) { }
}
