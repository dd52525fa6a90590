// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pictures as inputs: decoded, resized and normalized as the file beside the model, or the command line, says.
//!
//! `input = (pixel - mean) / scale` in float32, pixels 0 to 255. A network that takes integers gets the value rounded to the
//! nearest one, ties to even.

use crate::detector::{Detector, Size};
use crate::Failure;
use brickwork_compiler::host::HostInput;
use brickwork_compiler::ir::IntType;
use brickwork_compiler::npz::Array;
use brickwork_compiler::program::TensorInfo;
use clap::ValueEnum;
use image::imageops::FilterType;
use image::{DynamicImage, RgbImage};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Extensions of picture files.
const EXTENSIONS: [&str; 3] = ["png", "jpg", "jpeg"];
/// Longest side of a network's input picture.
const MOST_PIXELS: usize = 1 << 14;

/// Whether the file's name is that of a picture.
pub fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str()))
}

/// Order of the channels of the network's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    Rgb,
    Bgr,
    /// One channel: luminance (Rec. 709).
    Gray,
}

/// How a picture of another size is made to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Resize {
    /// To the network's size, whatever the aspect ratio (bilinear).
    Stretch,
    /// The largest middle part of the network's aspect ratio, then as `stretch`.
    Crop,
    /// Not at all: another size is an error.
    None,
}

/// How pictures become inputs. What is not said is taken from the network's shape.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub channels: Option<Channels>,
    pub resize: Option<Resize>,
    /// One value, or one per channel in the network's order.
    pub mean: Option<Vec<f32>>,
    pub scale: Option<Vec<f32>>,
    /// Height and width, for a network whose input is a plain vector.
    pub size: Option<[usize; 2]>,
}

/// The meaning of a classifier's outputs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassNames {
    pub names: Vec<String>,
}

/// The file beside a model: `net.toml` for `net.onnx`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sidecar {
    #[serde(default)]
    pub image: Rule,
    #[serde(default)]
    pub classes: ClassNames,
    pub detector: Option<Detector>,
}

impl Sidecar {
    /// Reads `given`, or else the file beside the model if there is one.
    pub fn read(model: &Path, given: Option<&Path>) -> Result<Sidecar, Failure> {
        let beside = model.with_extension("toml");
        let path = match given {
            Some(path) => path,
            None if beside.is_file() => &beside,
            None => return Ok(Sidecar::default()),
        };
        let text = std::fs::read_to_string(path).map_err(|e| Failure::file("read", path, e))?;
        toml::from_str(&text)
            .map_err(|e| Failure::Other(format!("{}: {}", path.display(), e.to_string().trim_end())))
    }
}

impl Rule {
    /// This rule, where it says something; otherwise `other`.
    pub fn or(self, other: Rule) -> Rule {
        Rule {
            channels: self.channels.or(other.channels),
            resize: self.resize.or(other.resize),
            mean: self.mean.or(other.mean),
            scale: self.scale.or(other.scale),
            size: self.size.or(other.size),
        }
    }
}

/// The input that pictures are made for.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub name: String,
    /// With the batch of 1 in front.
    pub dims: Vec<usize>,
    /// `Some`: the network takes integers of this type; `None`: float32.
    pub integers: Option<IntType>,
}

impl From<&HostInput> for Target {
    fn from(input: &HostInput) -> Target {
        let integers = input.chain.is_none().then_some(input.ty);
        Target { name: input.name.clone(), dims: input.dims.clone(), integers }
    }
}

impl From<&TensorInfo> for Target {
    fn from(input: &TensorInfo) -> Target {
        let [h, w, c] = input.shape;
        Target { name: input.name.clone(), dims: vec![1, h, w, c], integers: Some(input.ty) }
    }
}

/// Where the pixels of a picture go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    height: usize,
    width: usize,
    channels: usize,
    /// Channels are the outer axis (`[c][y][x]`), not the inner one.
    planar: bool,
}

impl Target {
    /// Height, width and channels from the shape: `[1,c,h,w]`, `[1,h,w,c]`, `[1,h,w]`, or a vector with `size`.
    fn place(&self, rule: &Rule) -> Result<Place, Failure> {
        let few = |c: usize| c == 1 || c == 3;
        let gray = |height, width| Place { height, width, channels: 1, planar: true };
        let count: usize = self.dims.iter().product();
        let place = match (rule.size, self.dims.as_slice()) {
            (Some([height, width]), _) => {
                let pixels = height.checked_mul(width).filter(|n| *n > 0);
                let channels = pixels.filter(|n| count.is_multiple_of(*n)).map(|n| count / n);
                let shape = channels.filter(|c| few(*c)).ok_or_else(|| {
                    self.refuse(format!("size {height} x {width} does not fit shape {:?}", self.dims))
                })?;
                Place { height, width, channels: shape, planar: shape == 1 || !self.inner() }
            }
            (None, &[1, channels, height, width]) if few(channels) => {
                Place { height, width, channels, planar: true }
            }
            (None, &[1, height, width, channels]) if few(channels) => {
                Place { height, width, channels, planar: false }
            }
            (None, &[1, height, width]) => gray(height, width),
            _ => {
                return Err(self.refuse(format!(
                    "shape {:?} is not that of a picture; give its height and width with --size H,W, or use a .npz file",
                    self.dims
                )))
            }
        };
        match place.height.max(place.width) {
            1..=MOST_PIXELS => Ok(place),
            _ => Err(self.refuse(format!("a picture of {} x {}", place.width, place.height))),
        }
    }

    /// The last axis is that of the channels.
    fn inner(&self) -> bool {
        self.dims.last() == Some(&3)
    }

    fn refuse(&self, reason: String) -> Failure {
        Failure::Other(format!("input `{}`: {reason}", self.name))
    }
}

/// Where pixels of the network's input lie in a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// Pixels of the picture for one of the network's, along x and y.
    pub scale: [f32; 2],
    /// Of the network's first pixel.
    pub origin: [f32; 2],
}

impl Target {
    /// Size of the network's input picture.
    pub fn size(&self, rule: &Rule) -> Result<Size, Failure> {
        self.place(rule).map(|p| Size { width: p.width, height: p.height })
    }

    /// Where a picture's pixels are taken from.
    pub fn frame(&self, rule: &Rule, picture: &DynamicImage) -> Result<Frame, Failure> {
        let size = self.size(rule)?;
        let (width, height) = (size.width as u32, size.height as u32);
        let [x, y, w, h] = match rule.resize {
            Some(Resize::Crop) => middle_part(picture, width, height),
            _ => [0, 0, picture.width(), picture.height()],
        };
        Ok(Frame { scale: [w as f32 / width as f32, h as f32 / height as f32], origin: [x as f32, y as f32] })
    }
}

/// Pictures as one batch for `target`, and a line for each that says what was done.
///
/// Errors: unreadable files, a shape that is no picture's, a rule that does not fit, values outside an integer input's type.
pub fn batch(
    paths: &[PathBuf],
    target: &Target,
    rule: &Rule,
    cure: &Path,
) -> Result<(Array, Vec<String>), Failure> {
    let place = target.place(rule)?;
    let maker = Maker::new(place, target, rule, cure)?;
    let mut values = Vec::with_capacity(paths.len() * place.height * place.width * place.channels);
    let mut notes = Vec::new();
    for path in paths {
        let picture = read(path)?;
        notes.push(format!(
            "{}: {} x {} pixels -> {} x {} {}, (pixel - {:?}) / {:?}",
            path.display(),
            picture.width(),
            picture.height(),
            place.width,
            place.height,
            maker.channels_name(),
            maker.mean,
            maker.scale,
        ));
        values.extend(maker.values(path, picture)?);
    }
    let shape = [&[paths.len()], &target.dims[1..]].concat();
    let array = match target.integers {
        Some(_) => Array::i32(shape, values.iter().map(|v| *v as i32).collect()),
        None => Array::f32(shape, values),
    };
    Ok((array.map_err(Failure::other)?, notes))
}

/// Decodes a picture. The crate's own limits bound its memory.
pub fn read(path: &Path) -> Result<DynamicImage, Failure> {
    let wrong = |e: &dyn std::fmt::Display| Failure::file("read", path, e);
    let reader = image::ImageReader::open(path).map_err(|e| wrong(&e))?;
    let reader = reader.with_guessed_format().map_err(|e| wrong(&e))?;
    reader.decode().map_err(|e| wrong(&e))
}

/// A rule that fits its target.
struct Maker<'a> {
    place: Place,
    target: &'a Target,
    channels: Channels,
    resize: Resize,
    mean: Vec<f32>,
    scale: Vec<f32>,
}

impl<'a> Maker<'a> {
    fn new(place: Place, target: &'a Target, rule: &Rule, cure: &Path) -> Result<Maker<'a>, Failure> {
        let unknown = || {
            target.refuse(format!(
                "how pixels become values is not known: give --mean M and --scale S (value = (pixel - M) / S, pixels 0 to \
                 255), or write `mean` and `scale` under [image] into {}",
                cure.display()
            ))
        };
        // Integers are likely pixels; nobody can guess the range of floats.
        let default = |v: f32| target.integers.map(|_| vec![v]);
        let mean =
            rule.mean.clone().or_else(|| rule.scale.as_ref().map(|_| vec![0.0])).or_else(|| default(0.0));
        let scale =
            rule.scale.clone().or_else(|| rule.mean.as_ref().map(|_| vec![1.0])).or_else(|| default(1.0));
        let (mean, scale) = mean.zip(scale).ok_or_else(unknown)?;
        for (name, list) in [("mean", &mean), ("scale", &scale)] {
            if list.len() != 1 && list.len() != place.channels {
                let (n, c) = (list.len(), place.channels);
                return Err(
                    target.refuse(format!("{name} has {n} values; give 1, or one for each of {c} channels"))
                );
            }
            if list.iter().any(|v| !v.is_finite() || (name == "scale" && *v == 0.0)) {
                return Err(target.refuse(format!("{name} = {list:?} holds a value that cannot be used")));
            }
        }
        let own = if place.channels == 1 { Channels::Gray } else { Channels::Rgb };
        let channels = rule.channels.unwrap_or(own);
        if (channels == Channels::Gray) != (place.channels == 1) {
            let c = place.channels;
            return Err(
                target.refuse(format!("channels = {channels:?} does not fit an input of {c} channels"))
            );
        }
        Ok(Maker { place, target, channels, resize: rule.resize.unwrap_or(Resize::Stretch), mean, scale })
    }

    fn channels_name(&self) -> &'static str {
        match self.channels {
            Channels::Rgb => "RGB",
            Channels::Bgr => "BGR",
            Channels::Gray => "gray",
        }
    }

    /// The picture's values in the order of the target's shape.
    fn values(&self, path: &Path, picture: DynamicImage) -> Result<Vec<f32>, Failure> {
        let picture = self.fitted(path, picture)?;
        let pixels = match self.channels {
            Channels::Gray => picture.into_luma8().into_raw(),
            Channels::Rgb => picture.into_rgb8().into_raw(),
            Channels::Bgr => swapped(picture.into_rgb8()).into_raw(),
        };
        let Place { height, width, channels, planar } = self.place;
        let mut values = vec![0.0; pixels.len()];
        for (i, pixel) in pixels.iter().enumerate() {
            let (at, c) = (i / channels, i % channels);
            let value = self.value(*pixel, c)?;
            values[if planar { c * height * width + at } else { i }] = value;
        }
        Ok(values)
    }

    fn value(&self, pixel: u8, channel: usize) -> Result<f32, Failure> {
        let of = |list: &[f32]| list[channel % list.len()];
        let value = (pixel as f32 - of(&self.mean)) / of(&self.scale);
        let Some(ty) = self.target.integers else { return Ok(value) };
        let rounded = value.round_ties_even();
        let (low, high) = ty.range();
        if (low as f32..=high as f32).contains(&rounded) {
            return Ok(rounded);
        }
        Err(self.target.refuse(format!(
            "pixel {pixel} becomes {value}, which its {}-bit integers ({low}..={high}) cannot hold; choose other --mean and --scale",
            ty.bits
        )))
    }

    /// The picture in the target's size. Resized in the target's channels.
    fn fitted(&self, path: &Path, picture: DynamicImage) -> Result<DynamicImage, Failure> {
        let (width, height) = (self.place.width as u32, self.place.height as u32);
        let found = (picture.width(), picture.height());
        if found == (width, height) {
            return Ok(picture);
        }
        let picture = match self.channels {
            Channels::Gray => DynamicImage::from(picture.into_luma8()),
            _ => DynamicImage::from(picture.into_rgb8()),
        };
        let part = match self.resize {
            Resize::Stretch => picture,
            Resize::Crop => middle(&picture, width, height),
            Resize::None => {
                let reason = format!(
                    "it has {} x {} pixels, the network takes {width} x {height}; choose --resize stretch or crop",
                    found.0, found.1
                );
                return Err(Failure::file("use", path, reason));
            }
        };
        Ok(part.resize_exact(width, height, FilterType::Triangle))
    }
}

/// The largest middle part with the aspect ratio of `width` to `height`: left, top, width, height.
fn middle_part(picture: &DynamicImage, width: u32, height: u32) -> [u32; 4] {
    let (w, h) = (picture.width() as u64, picture.height() as u64);
    let (cut_w, cut_h) = match w * height as u64 > h * width as u64 {
        true => ((h * width as u64 / height as u64).max(1), h),
        false => (w, (w * height as u64 / width as u64).max(1)),
    };
    [(w - cut_w) / 2, (h - cut_h) / 2, cut_w, cut_h].map(|v| v as u32)
}

fn middle(picture: &DynamicImage, width: u32, height: u32) -> DynamicImage {
    let [x, y, w, h] = middle_part(picture, width, height);
    picture.crop_imm(x, y, w, h)
}

/// Red and blue exchanged.
fn swapped(mut picture: RgbImage) -> RgbImage {
    picture.pixels_mut().for_each(|p| p.0.swap(0, 2));
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(dims: &[usize]) -> Target {
        Target { name: "x".into(), dims: dims.to_vec(), integers: None }
    }

    fn scaled() -> Rule {
        Rule { mean: Some(vec![1.0]), scale: Some(vec![2.0]), ..Rule::default() }
    }

    fn made(target: &Target, rule: &Rule, picture: RgbImage) -> Result<Vec<f32>, Failure> {
        let maker = Maker::new(target.place(rule)?, target, rule, Path::new("net.toml"))?;
        maker.values(Path::new("p.png"), picture.into())
    }

    /// Two pixels beside each other.
    fn two() -> RgbImage {
        RgbImage::from_raw(2, 1, vec![1, 3, 5, 11, 13, 15]).expect("six bytes")
    }

    /// The same below each other.
    fn upright() -> RgbImage {
        RgbImage::from_raw(1, 2, two().into_raw()).expect("six bytes")
    }

    #[test]
    fn channels_lie_as_the_shape_says() {
        let planar = made(&float(&[1, 3, 1, 2]), &scaled(), two()).expect("values");
        assert_eq!(planar, [0.0, 5.0, 1.0, 6.0, 2.0, 7.0]);
        let inner = made(&float(&[1, 2, 1, 3]), &scaled(), upright()).expect("values");
        assert_eq!(inner, [0.0, 1.0, 2.0, 5.0, 6.0, 7.0]);
        let bgr = Rule { channels: Some(Channels::Bgr), ..scaled() };
        assert_eq!(
            made(&float(&[1, 2, 1, 3]), &bgr, upright()).expect("values"),
            [2.0, 1.0, 0.0, 7.0, 6.0, 5.0]
        );
        let sized = Rule { size: Some([1, 2]), ..scaled() };
        assert_eq!(made(&float(&[1, 6]), &sized, two()).expect("values"), planar);
    }

    #[test]
    fn crop_takes_the_middle_and_none_takes_nothing_else() {
        let wide = RgbImage::from_fn(6, 2, |x, _| image::Rgb([if (2..4).contains(&x) { 9 } else { 0 }; 3]));
        let crop = Rule { resize: Some(Resize::Crop), ..scaled() };
        assert_eq!(made(&float(&[1, 1, 1, 1]), &crop, wide.clone()).expect("values"), [4.0]);
        let none = Rule { resize: Some(Resize::None), ..scaled() };
        let message = made(&float(&[1, 1, 1, 1]), &none, wide).expect_err("another size").to_string();
        assert!(message.contains("6 x 2") && message.contains("--resize"), "{message}");
    }

    #[test]
    fn integers_are_rounded_and_bounded() {
        let int8 = Target { integers: Some(IntType { bits: 8, signed: true }), ..float(&[1, 2, 1, 3]) };
        assert_eq!(made(&int8, &scaled(), upright()).expect("values"), [0.0, 1.0, 2.0, 5.0, 6.0, 7.0]);
        let bright = RgbImage::from_pixel(1, 2, image::Rgb([200; 3]));
        let message = made(&int8, &Rule::default(), bright).expect_err("200 is no int8").to_string();
        assert!(message.contains("-128..=127") && message.contains("--mean"), "{message}");
    }

    #[test]
    fn what_does_not_fit_is_refused_with_a_cure() {
        let cases = [
            (float(&[1, 784]), scaled(), "--size"),
            (float(&[1, 784]), Rule { size: Some([28, 27]), ..scaled() }, "does not fit shape"),
            (float(&[1, 3, 2, 2]), Rule::default(), "net.toml"),
            (float(&[1, 3, 2, 2]), Rule { mean: Some(vec![1.0; 2]), ..Rule::default() }, "3 channels"),
            (float(&[1, 3, 2, 2]), Rule { scale: Some(vec![0.0]), ..Rule::default() }, "cannot be used"),
            (float(&[1, 3, 2, 2]), Rule { channels: Some(Channels::Gray), ..scaled() }, "does not fit"),
        ];
        for (target, rule, needed) in cases {
            let message = made(&target, &rule, two()).expect_err("refused").to_string();
            assert!(message.contains(needed), "{message}");
        }
    }

    #[test]
    fn flags_go_before_the_file() {
        let flags = Rule { mean: Some(vec![3.0]), ..Rule::default() };
        let both = flags.or(scaled());
        assert_eq!((both.mean, both.scale), (Some(vec![3.0]), Some(vec![2.0])));
    }
}
