using System.CommandLine;
using StableDiffusion.Imaging;
using StableDiffusion.Pipelines;

namespace StableDiffusion.Cli.Generate;

/// <summary>The pictures that a call of <c>generate</c> starts from, read and checked before the model is loaded.</summary>
internal sealed class PictureInputs
{
    private readonly RgbImage? _image, _mask, _depth;
    private readonly double? _strength, _imageGuidance;
    private readonly ResizeMode _mode;
    private readonly OutpaintMargins? _outpaint;

    private PictureInputs(ParseResult parsed, PictureOptions options)
    {
        string? file = parsed.GetValue(options.Image), mask = parsed.GetValue(options.Mask), depth = parsed.GetValue(options.Depth);
        _outpaint = parsed.GetValue(options.Outpaint);
        if (file is null)
        {
            if (options.All.FirstOrDefault(option => parsed.GetResult(option) is { Implicit: false }) is { } lone)
            {
                throw CliException.Usage($"{lone.Name} needs a picture to start from; give one with --image, or leave {lone.Name} out");
            }
            return;
        }
        if (_outpaint is not null && mask is not null)
        {
            throw CliException.Usage("--outpaint together with --mask: the new margin is the mask; leave --mask out");
        }
        _image = RgbImage.Load(file);
        _mask = mask is null ? null : RgbImage.Load(mask);
        _depth = depth is null ? null : RgbImage.Load(depth);
        if (_mask is not null && (_mask.Width, _mask.Height) != (_image.Width, _image.Height))
        {
            throw CliException.Usage($"--mask: '{mask}' is {_mask.Width}x{_mask.Height}, but '{file}' is {_image.Width}x{_image.Height}; give a mask of the picture's size");
        }
        if (_outpaint is { } margins)
        {
            (_image, _mask) = OutpaintCanvas.Extend(_image, margins.Left, margins.Top, margins.Right, margins.Bottom);
        }
        (_strength, _imageGuidance, _mode) = (parsed.GetValue(options.Strength), parsed.GetValue(options.ImageGuidance), parsed.GetValue(options.ResizeMode) ?? ResizeMode.Stretch);
    }

    /// <summary>Size of the picture to start from, margins included; null without one.</summary>
    internal (int Width, int Height)? Size => _image is null ? null : (_image.Width, _image.Height);

    /// <summary>Whether a part of the picture is kept.</summary>
    internal bool HasMask => _mask is not null;

    /// <summary>What the PNG says beyond what the pipeline tells.</summary>
    internal IEnumerable<(string Key, string? Value)> Settings =>
    [
        ("Outpaint", _outpaint is { } m ? Units.Text($"{m.Left} {m.Top} {m.Right} {m.Bottom}") : null),
        ("Resize mode", _mode switch { ResizeMode.Crop => "Crop and resize", ResizeMode.Fill => "Resize and fill", _ => null }),
    ];

    /// <summary>Reads the files.</summary>
    /// <exception cref="CliException">Options that do not go together, or pictures of different sizes.</exception>
    /// <exception cref="InvalidImageException">A file that is no picture, or a damaged one.</exception>
    internal static PictureInputs Read(ParseResult parsed, PictureOptions options) => new(parsed, options);

    /// <summary>The request with the pictures in it.</summary>
    internal GenerationRequest AddTo(GenerationRequest request) => _image is null ? request : request with
    {
        Image = SourceImage.FromPictures(_image) with { ResizeMode = _mode },
        Mask = _mask is null ? null : MaskImage.FromPicture(_mask),
        Depth = _depth is null ? null : DepthMap.FromPicture(_depth),
        Strength = _strength,
        ImageGuidanceScale = _imageGuidance,
    };
}
