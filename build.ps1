<#
.SYNOPSIS
Configures, builds, tests or packs StableDiffusion.Native: what the MSBuild targets do, for those who prefer PowerShell.

.EXAMPLE
./build.ps1                       # native library and all projects, Release
./build.ps1 -Target test
./build.ps1 -Target pack -Configuration Release

.NOTES
Needs the .NET 10 SDK, CMake and a C++ compiler. On Windows: Visual Studio Build Tools with "Desktop development with C++".
#>
[CmdletBinding()]
param(
    [ValidateSet('Debug', 'Release')]
    [string] $Configuration = 'Release',

    [ValidateSet('configure', 'build', 'test', 'pack', 'all')]
    [string] $Target = 'build'
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$root = $PSScriptRoot
$native = Join-Path $root 'artifacts/native'
$solution = Join-Path $root 'StableDiffusion.Native.sln'

function Invoke-Tool([string] $Tool, [string[]] $Arguments) {
    if (-not (Get-Command $Tool -ErrorAction SilentlyContinue)) {
        throw "$Tool was not found: install it and open a new shell."
    }
    Write-Host "> $Tool $Arguments"
    & $Tool @Arguments
    if ($LASTEXITCODE -ne 0) {
        throw "$Tool ended with exit code $LASTEXITCODE."
    }
}

# The native library is always a Release build, whatever the configuration of the C# projects.
function Invoke-Configure { Invoke-Tool 'cmake' @('-S', $root, '-B', $native, '-DCMAKE_BUILD_TYPE=Release') }

function Invoke-Build {
    Invoke-Configure
    Invoke-Tool 'cmake' @('--build', $native, '--config', 'Release', '--parallel', [string] [Environment]::ProcessorCount)
    Invoke-Tool 'dotnet' @('build', $solution, '-c', $Configuration)
}

function Invoke-Test { Invoke-Tool 'dotnet' @('test', $solution, '-c', $Configuration) }

function Invoke-Pack { Invoke-Tool 'dotnet' @('pack', $solution, '-c', $Configuration) }

switch ($Target) {
    'configure' { Invoke-Configure }
    'build' { Invoke-Build }
    'test' { Invoke-Build; Invoke-Test }
    'pack' { Invoke-Build; Invoke-Pack }
    'all' { Invoke-Build; Invoke-Test; Invoke-Pack }
}
