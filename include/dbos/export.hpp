#pragma once

/// Marks what a shared build of the library exports.
#define DBOS_EXPORT __attribute__((visibility("default")))
