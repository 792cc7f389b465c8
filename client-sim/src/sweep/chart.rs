//! A sweep as one picture: four panels over the number of players. It draws text and lines, and opens no file.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::verdict::{TICK_MS_P99_MAX, UPDATE_MS_P99_MAX};
use super::{Sweep, SweepPoint};

/// Size of the picture, pixels.
const SIZE: (u32, u32) = (1_100, 780);
/// A background of its own keeps it legible on a dark page.
const BACKGROUND: RGBColor = RGBColor(255, 255, 255);
const INK: RGBColor = RGBColor(31, 35, 40);
const GRID: RGBColor = RGBColor(225, 228, 232);
/// Two colours that also differ in brightness.
const SERIES: [RGBColor; 2] = [RGBColor(9, 105, 218), RGBColor(188, 76, 0)];
/// The verdict's limits.
const LIMIT: RGBColor = RGBColor(130, 80, 90);

/// The picture could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the chart cannot be drawn: {0}")]
pub struct ChartError(String);

/// One line of a panel.
type Series = (&'static str, fn(&SweepPoint) -> f64);

struct Panel {
    title: &'static str,
    unit: &'static str,
    series: [Series; 2],
    limit: Option<f64>,
}

const PANELS: [Panel; 4] = [
    Panel {
        title: "Tick work",
        unit: "ms",
        series: [
            ("p50", |point| point.server.tick_ms.p50),
            ("p99", |point| point.server.tick_ms.p99),
        ],
        limit: Some(TICK_MS_P99_MAX),
    },
    Panel {
        title: "Update latency, from an intent to the snapshot that shows it",
        unit: "ms",
        series: [
            ("p50", |point| point.update_latency_ms.p50),
            ("p99", |point| point.update_latency_ms.p99),
        ],
        limit: Some(UPDATE_MS_P99_MAX),
    },
    Panel {
        title: "UDP traffic of a player",
        unit: "kB/s",
        series: [
            ("down", |point| point.bytes_down_per_player_s / 1_000.0),
            ("up", |point| point.bytes_up_per_player_s / 1_000.0),
        ],
        limit: None,
    },
    Panel {
        title: "Computing time for one player and tick",
        unit: "µs",
        series: [
            ("server", |point| point.server.cpu_us_per_player_tick),
            ("simulator", |point| point.simulator.cpu_us_per_player_tick),
        ],
        limit: None,
    },
];

/// Draws a sweep as SVG. Filled marks hold, hollow ones do not.
pub fn chart(sweep: &Sweep) -> Result<String, ChartError> {
    let mut svg = String::new();
    let drawn = draw(sweep, &mut svg);
    drawn.map_err(|error| ChartError(error.to_string()))?;
    Ok(svg)
}

fn draw(sweep: &Sweep, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&BACKGROUND)?;
    let holds = sweep.holds_max.map_or_else(
        || "no number of players holds".to_owned(),
        |most| format!("{most} players hold"),
    );
    let title = format!(
        "{} in {}, durability {}: {holds}",
        sweep.behavior,
        sweep.zones.join(", "),
        sweep.durability
    );
    let root = root.titled(&title, ("sans-serif", 22).into_font().color(&INK))?;
    // Numbers that nobody could join have no figures.
    let points: Vec<&SweepPoint> = sweep.points.iter().filter(|point| point.seconds > 0.0).collect();
    for (area, panel) in root.split_evenly((2, 2)).iter().zip(&PANELS) {
        draw_panel(area, panel, &points)?;
    }
    root.present()?;
    Ok(())
}

fn draw_panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    panel: &Panel,
    points: &[&SweepPoint],
) -> Result<(), Box<dyn std::error::Error>> {
    let players_max = points.iter().map(|point| point.players).max().unwrap_or(1) as f64 * 1.05;
    let values = points
        .iter()
        .flat_map(|point| panel.series.iter().map(|(_, value)| value(point)));
    let top = values.fold(0.0, f64::max).max(0.1);
    // A limit that is far above everything would only press the lines together.
    let limit = panel.limit.filter(|limit| *limit <= 4.0 * top);
    let mut chart = ChartBuilder::on(area)
        .caption(panel.title, ("sans-serif", 16).into_font().color(&INK))
        .margin(14)
        .x_label_area_size(42)
        .y_label_area_size(62)
        .build_cartesian_2d(0.0..players_max, 0.0..limit.unwrap_or(top).max(top) * 1.1)?;
    chart
        .configure_mesh()
        .x_desc("players")
        .y_desc(panel.unit)
        .x_label_formatter(&|players| format!("{players:.0}"))
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .axis_desc_style(("sans-serif", 14).into_font().color(&INK))
        .draw()?;
    if let Some(limit) = limit {
        let line = [(0.0, limit), (players_max, limit)];
        chart
            .draw_series(DashedLineSeries::new(line, 6, 4, LIMIT.stroke_width(1)))?
            .label(format!("limit {limit} {}", panel.unit))
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], LIMIT));
    }
    for ((name, value), color) in panel.series.iter().zip(SERIES) {
        let line = points.iter().map(|point| (point.players as f64, value(point)));
        chart
            .draw_series(LineSeries::new(line, color.stroke_width(2)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        let marks = points.iter().map(|point| {
            let style = if point.holds() {
                color.filled()
            } else {
                color.stroke_width(2)
            };
            Circle::new((point.players as f64, value(point)), 4, style)
        });
        chart.draw_series(marks)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(BACKGROUND.mix(0.85))
        .border_style(GRID)
        .label_font(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Sweep, SweepPoint, chart};
    use crate::behavior::Behavior;

    fn sweep(points: Vec<SweepPoint>) -> Sweep {
        Sweep {
            holds_max: Some(200),
            stopped: false,
            behavior: Behavior::Wander,
            zones: vec!["plain".to_owned()],
            world: None,
            durability: "store".to_owned(),
            seconds: 2.0,
            server_cpu: None,
            pin: None,
            points,
        }
    }

    #[test]
    fn four_panels_have_axes_with_units_and_a_background_of_their_own() {
        let mut points = vec![SweepPoint::made_up(100, true), SweepPoint::made_up(200, false)];
        for point in &mut points {
            point.seconds = 2.0;
            point.server.tick_ms.p99 = 12.0;
        }
        let svg = chart(&sweep(points)).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for text in [
            "players",
            "ms",
            "kB/s",
            "µs",
            "limit 25 ms",
            "200 players hold",
            "#FFFFFF",
        ] {
            assert!(svg.contains(text), "no {text}");
        }
    }

    #[test]
    fn sweep_without_figures_is_drawn_empty() {
        assert!(
            chart(&sweep(vec![SweepPoint::made_up(100, false)]))
                .unwrap()
                .contains("players")
        );
        assert!(chart(&sweep(Vec::new())).is_ok());
    }
}
