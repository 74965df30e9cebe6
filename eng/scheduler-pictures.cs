#!/usr/bin/env dotnet
#:project ../src/StableDiffusion/StableDiffusion.csproj
#:property PublishAot=false

// Draws the pictures of docs/schedulers.md with the demo model: one strip per scheduler, at 5, 10, 20 and 50 steps.
//
//   dotnet run -c Release eng/scheduler-pictures.cs            all of them, a few minutes
//   dotnet run -c Release eng/scheduler-pictures.cs Heun LMS   those whose name begins so

using System.Buffers.Binary;
using System.IO.Compression;
using StableDiffusion.Imaging;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Schedulers;

const string Prompt = "a large red star on a blue background";
const ulong Seed = 7;
const double Guidance = 5;
int[] steps = [5, 10, 20, 50];
string[] names =
[
    "DDIM", "PLMS", "DDPM", "LMS", "LMS Karras", "Euler", "Euler Karras", "Euler Exponential", "Euler Beta", "Euler SGM Uniform", "Euler a",
    "Heun", "Heun Karras", "DPM2", "DPM2 Karras", "DPM2 a", "DPM2 a Karras", "DPM++ 2M", "DPM++ 2M Karras", "DPM++ 2M Exponential", "DPM++ 2M Beta", "DPM++ 2M SGM Uniform", "DPM++ 2M AYS",
    "DPM++ 2M SDE", "DPM++ 2M SDE Karras", "DPM++ 2M SDE Heun", "DPM++ 3M", "DPM++ 3M SDE", "DPM++ 3M SDE Karras", "DPM++ 3M SDE Exponential",
    "DPM++ 2S", "DPM++ 2S Karras", "DPM++ SDE", "DPM++ SDE Karras", "UniPC", "UniPC Karras", "DEIS", "DEIS Karras", "LCM", "TCD", "EDM Euler",
];

string root = Path.GetFullPath(Path.Combine(Path.GetDirectoryName(ThisFile())!, ".."));
string folder = Path.Combine(root, "docs", "schedulers");
Directory.CreateDirectory(folder);
using StableDiffusionPipeline pipeline = StableDiffusionPipeline.Load(Path.Combine(root, "models", "shapes"), Device.Auto);
foreach (string name in names.Where(name => args.Length == 0 || args.Any(arg => name.StartsWith(arg, StringComparison.OrdinalIgnoreCase))))
{
    // Align Your Steps is a list of timesteps, not a scheduler.
    bool ays = name.EndsWith(" AYS", StringComparison.Ordinal);
    IScheduler scheduler = Scheduler.Create(ays ? name[..^4] : name, pipeline.Components.Scheduler as Scheduler);
    RgbImage[] pictures = [.. steps.Select(count => Draw(scheduler, count, ays ? AlignYourSteps.Timesteps(count, xl: false) : null))];
    string file = Path.Combine(folder, name.ToLowerInvariant().Replace("++", "pp").Replace(' ', '-') + ".png");
    File.WriteAllBytes(file, Strip(pictures));
    Console.WriteLine($"{name}: {new FileInfo(file).Length} bytes");
}

RgbImage Draw(IScheduler scheduler, int count, IReadOnlyList<double>? timesteps)
{
    using GenerationResult result = pipeline.Generate(new GenerationRequest(Prompt) { Scheduler = scheduler, Steps = count, Timesteps = timesteps, Seed = Seed, GuidanceScale = Guidance });
    RgbImage picture = result.Images[0];
    return new RgbImage(picture.Width, picture.Height, picture.Pixels.ToArray());
}

// The pictures side by side as a PNG of 16 colours: the strips of all schedulers shall not be larger than a photograph.
static byte[] Strip(RgbImage[] pictures)
{
    int side = pictures[0].Width, height = pictures[0].Height, width = side * pictures.Length;
    byte[] pixels = new byte[width * height * 3];
    for (int i = 0; i < pictures.Length; i++)
    {
        for (int y = 0; y < height; y++)
        {
            pictures[i].Pixels.Slice(y * side * 3, side * 3).CopyTo(pixels.AsSpan((y * width + i * side) * 3));
        }
    }
    (int R, int G, int B)[] palette = Palette(pixels, 16);
    byte[] rows = new byte[height * (1 + width / 2)];
    for (int y = 0, at = 0; y < height; y++)
    {
        rows[at++] = 0; // No filter: indices have no gradients.
        for (int x = 0; x < width; x += 2)
        {
            rows[at++] = (byte)(Nearest(palette, pixels, (y * width + x) * 3) << 4 | Nearest(palette, pixels, (y * width + x + 1) * 3));
        }
    }
    using MemoryStream packed = new();
    using (ZLibStream zlib = new(packed, CompressionLevel.SmallestSize, leaveOpen: true))
    {
        zlib.Write(rows);
    }
    byte[] header = new byte[13];
    BinaryPrimitives.WriteInt32BigEndian(header, width);
    BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(4), height);
    (header[8], header[9]) = (4, 3); // 4 bits per pixel, palette
    return [0x89, .. "PNG\r\n\x1a\n"u8, .. Chunk("IHDR"u8, header), .. Chunk("PLTE"u8, [.. palette.SelectMany(c => new[] { (byte)c.R, (byte)c.G, (byte)c.B })]),
        .. Chunk("IDAT"u8, packed.ToArray()), .. Chunk("IEND"u8, [])];
}

// Lloyd's k-means from colours spread over the sorted pixels: the same picture always gives the same palette.
static (int R, int G, int B)[] Palette(byte[] pixels, int count)
{
    int[] sample = [.. Enumerable.Range(0, pixels.Length / 3).Where(i => i % 7 == 0).OrderBy(i => pixels[i * 3] * 3 + pixels[i * 3 + 1] * 6 + pixels[i * 3 + 2]).ThenBy(i => i)];
    (int R, int G, int B)[] palette = [.. Enumerable.Range(0, count).Select(k => sample[(2 * k + 1) * sample.Length / (2 * count)] * 3).Select(i => ((int)pixels[i], (int)pixels[i + 1], (int)pixels[i + 2]))];
    for (int round = 0; round < 12; round++)
    {
        long[,] sums = new long[count, 4];
        foreach (int i in sample)
        {
            int k = Nearest(palette, pixels, i * 3);
            sums[k, 0] += pixels[i * 3];
            sums[k, 1] += pixels[i * 3 + 1];
            sums[k, 2] += pixels[i * 3 + 2];
            sums[k, 3]++;
        }
        palette = [.. palette.Select((old, k) => sums[k, 3] == 0 ? old : ((int)(sums[k, 0] / sums[k, 3]), (int)(sums[k, 1] / sums[k, 3]), (int)(sums[k, 2] / sums[k, 3])))];
    }
    return palette;
}

static int Nearest((int R, int G, int B)[] palette, byte[] pixels, int at)
{
    int best = 0, least = int.MaxValue;
    for (int k = 0; k < palette.Length; k++)
    {
        int r = palette[k].R - pixels[at], g = palette[k].G - pixels[at + 1], b = palette[k].B - pixels[at + 2];
        int distance = 2 * r * r + 4 * g * g + b * b;
        (best, least) = distance < least ? (k, distance) : (best, least);
    }
    return best;
}

static byte[] Chunk(ReadOnlySpan<byte> type, byte[] data)
{
    byte[] chunk = new byte[12 + data.Length];
    BinaryPrimitives.WriteInt32BigEndian(chunk, data.Length);
    type.CopyTo(chunk.AsSpan(4));
    data.CopyTo(chunk, 8);
    uint crc = uint.MaxValue;
    foreach (byte value in chunk.AsSpan(4, 4 + data.Length))
    {
        crc ^= value;
        for (int bit = 0; bit < 8; bit++)
        {
            crc = (crc >> 1) ^ (0xEDB88320 & (0 - (crc & 1)));
        }
    }
    BinaryPrimitives.WriteUInt32BigEndian(chunk.AsSpan(8 + data.Length), ~crc);
    return chunk;
}

static string ThisFile([System.Runtime.CompilerServices.CallerFilePath] string path = "") => path;
