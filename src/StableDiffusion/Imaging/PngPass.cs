namespace StableDiffusion.Imaging;

/// <summary>The pixels that one pass of a PNG file holds: every StepX-th of every StepY-th row (PNG specification, section 8.2).</summary>
/// <param name="FirstX">The first column.</param>
/// <param name="FirstY">The first row.</param>
/// <param name="StepX">Columns from one to the next.</param>
/// <param name="StepY">Rows from one to the next.</param>
internal readonly record struct PngPass(int FirstX, int FirstY, int StepX, int StepY)
{
    /// <summary>Columns of the pass in a picture of a width.</summary>
    public int Columns(int width) => (width - FirstX + StepX - 1) / StepX;

    /// <summary>Rows of the pass in a picture of a height.</summary>
    public int Rows(int height) => (height - FirstY + StepY - 1) / StepY;
}
