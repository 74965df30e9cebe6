using System.Text.Json;
using System.Text.Json.Nodes;
using StableDiffusion.Tests.Weights;

namespace StableDiffusion.Tests.Support;

/// <summary>The models of the fixtures: folders of <c>models/</c>, and those that a patch of <c>models/patches</c> makes of one of them.</summary>
internal static class PatchedModels
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    /// <summary>The folder of a model. One that is a patch is put together in the scratch folder, once.</summary>
    public static string Folder(string name, TemporaryFolder scratch)
    {
        string folder = Fixtures.PathOf("models", name);
        if (Directory.Exists(folder))
        {
            return folder;
        }
        string made = scratch[name];
        if (!Directory.Exists(made))
        {
            Make(Fixtures.ReadJson("models", "patches", name + ".json"), made);
        }
        return made;
    }

    private static void Make(JsonElement patch, string target)
    {
        string root = Fixtures.PathOf("models", patch.GetProperty("base").GetString()!);
        string[] without = [.. patch.GetProperty("without").EnumerateArray().Select(part => part.GetString()!)];
        foreach (string part in Directory.EnumerateDirectories(root).Where(part => !without.Contains(Path.GetFileName(part))))
        {
            string copy = Directory.CreateDirectory(Path.Combine(target, Path.GetFileName(part))).FullName;
            foreach (string file in Directory.EnumerateFiles(part))
            {
                File.Copy(file, Path.Combine(copy, Path.GetFileName(file)));
            }
        }
        JsonObject index = Merge(Path.Combine(root, "model_index.json"), patch.GetProperty("model_index"));
        foreach (string part in without)
        {
            index[part] = new JsonArray(null, null);
        }
        File.WriteAllText(Path.Combine(target, "model_index.json"), index.ToJsonString(Indented));

        bool whole = patch.GetProperty("whole_unet").GetBoolean();
        string unet = Path.Combine(target, "unet"), config = Path.Combine(unet, "config.json"), weights = Path.Combine(unet, "diffusion_pytorch_model.safetensors");
        File.WriteAllText(config, Merge(config, patch.GetProperty("unet")).ToJsonString(Indented));
        TensorFile changed = Fixtures.ReadTensors("models", "patches", patch.GetProperty("name").GetString() + ".safetensors");
        TensorFile before = TensorFile.Read(weights);
        IEnumerable<TestTensor> tensors = whole ? [] : before.Names.Where(key => !changed.Contains(key)).Select(key => before[key]);
        File.WriteAllBytes(weights, SafetensorsBytes.Floats([.. tensors.Concat(changed.Names.Select(key => changed[key]))
            .Select(tensor => (tensor.Name, tensor.Shape.Select(side => (long)side).ToArray(), tensor.ToSingle()))]));
    }

    private static JsonObject Merge(string file, JsonElement changes)
    {
        JsonObject json = JsonNode.Parse(File.ReadAllText(file))!.AsObject();
        foreach (JsonProperty change in changes.EnumerateObject())
        {
            json[change.Name] = JsonNode.Parse(change.Value.GetRawText());
        }
        return json;
    }
}
