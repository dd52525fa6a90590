// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pictures with boxes drawn into them.

use crate::detector::Found;
use crate::{out_file, Failure};
use image::{ImageFormat, Rgb, RgbImage};
use std::io::Cursor;
use std::path::Path;

/// Colours of the classes, in turn.
const COLOURS: [[u8; 3]; 6] =
    [[255, 40, 40], [40, 220, 40], [60, 110, 255], [255, 210, 0], [255, 0, 255], [0, 230, 230]];

/// Draws the outlines of boxes, as thick as suits the picture.
pub fn draw(picture: &mut RgbImage, boxes: &[Found]) {
    let (width, height) = (picture.width() as i64, picture.height() as i64);
    let thick = (width.max(height) / 200).max(2);
    // the worst first, so that the best are seen
    for found in boxes.iter().rev() {
        let [left, top, right, bottom] =
            found.corners.map(|v| if v.is_finite() { v.round() as i64 } else { 0 });
        let colour = Rgb(COLOURS[found.class.class % COLOURS.len()]);
        let mut fill = |x: std::ops::Range<i64>, y: std::ops::Range<i64>| {
            for py in y.start.max(0)..y.end.min(height) {
                for px in x.start.max(0)..x.end.min(width) {
                    picture.put_pixel(px as u32, py as u32, colour);
                }
            }
        };
        fill(left..right, top..top + thick);
        fill(left..right, bottom - thick..bottom);
        fill(left..left + thick, top..bottom);
        fill(right - thick..right, top..bottom);
    }
}

/// Writes a picture as PNG.
pub fn write(path: &Path, picture: &RgbImage) -> Result<(), Failure> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).map_err(|e| Failure::file("write", path, e))?;
    out_file::write_whole(path, &bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::Class;

    #[test]
    fn outlines_stay_inside_the_picture() {
        let mut picture = RgbImage::new(30, 20);
        let class = Class { class: 1, name: None, score: 0.5 };
        let found = |corners| Found { class: class.clone(), corners };
        draw(
            &mut picture,
            &[found([5.0, 4.0, 15.0, 12.0]), found([-9.0, 10.0, 99.0, 30.0]), found([f32::NAN; 4])],
        );
        let green = Rgb(COLOURS[1]);
        let is = |x, y| *picture.get_pixel(x, y) == green;
        assert!(is(5, 4) && is(14, 4) && is(6, 8) && is(14, 11) && is(0, 10) && is(29, 11));
        assert!(!is(8, 8) && !is(15, 8) && !is(20, 15));
    }
}
