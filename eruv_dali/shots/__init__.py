"""Finding the shots of a video: HOG features, their differences, and the rules that cut where the differences jump."""

from eruv_dali.shots.curves import ShotCurves, ShotStatistics
from eruv_dali.shots.hog import hog
from eruv_dali.shots.rules import RULES, Shot, cut_curve, find_shots

__all__ = ["RULES", "Shot", "ShotCurves", "ShotStatistics", "cut_curve", "find_shots", "hog"]
