using System.Text.Encodings.Web;
using System.Text.Json;

namespace StableDiffusion.Cli;

/// <summary>How the commands write JSON: one line, readable text.</summary>
internal static class Json
{
    /// <summary>Not for HTML, so quotes and letters of all languages stay as they are where JSON allows it.</summary>
    internal static readonly JsonSerializerOptions Options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
}
