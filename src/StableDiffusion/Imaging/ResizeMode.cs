namespace StableDiffusion.Imaging;

/// <summary>How a picture becomes one of another shape; diffusers: resize_mode of VaeImageProcessor.</summary>
public enum ResizeMode
{
    /// <summary>Stretched to the size, whatever its shape was; diffusers: "default".</summary>
    Stretch,

    /// <summary>Scaled until it covers the size, what stands out cut off evenly on both sides; diffusers: "crop".</summary>
    Crop,

    /// <summary>Scaled until it fits into the size, the rest filled with the colours of its edges; diffusers: "fill".</summary>
    Fill,
}
