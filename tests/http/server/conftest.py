"""One server for all of these tests."""

from served import served as served
