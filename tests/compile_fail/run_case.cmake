# Compiles CASE with COMPILER and compares with its first line.
cmake_minimum_required(VERSION 3.25)

file(READ ${CASE} text)   # not STRINGS, which would take a semicolon for the end of a list element
if(NOT text MATCHES "^// expect: ([^\n]+)\n")
  message(FATAL_ERROR "${CASE}: the first line must be `// expect: <sentence>`")
endif()
set(sentence "${CMAKE_MATCH_1}")

set(ENV{LC_ALL} C)
execute_process(
  COMMAND ${COMPILER} -std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -I${INCLUDE} ${CASE}
  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)

if(sentence STREQUAL "compiles")
  if(NOT result EQUAL 0 OR NOT output STREQUAL "")
    message(FATAL_ERROR "${CASE} must compile without a warning:\n${output}")
  endif()
  return()
endif()
if(result EQUAL 0)
  message(FATAL_ERROR "${CASE} compiles, but must be refused with: ${sentence}")
endif()
string(FIND "${output}" "${sentence}" found)
if(found EQUAL -1)
  message(FATAL_ERROR "${CASE} is refused, but not with: ${sentence}\n${output}")
endif()
# The sentence must be the first thing that a reader sees, not lost behind errors of the library's inside: it stands in the
# first error or in the notes below it (clang names a function that is no constant expression in a note).
string(FIND "${output}" "error:" first_error)
math(EXPR behind "${first_error} + 6")
string(SUBSTRING "${output}" ${behind} -1 rest)
string(FIND "${rest}" "error:" second_error)
string(SUBSTRING "${rest}" 0 ${second_error} first)   # -1, no second error: all of it
string(FIND "${first}" "${sentence}" in_first)
if(in_first EQUAL -1)
  message(FATAL_ERROR "${CASE}: the first error is not the sentence `${sentence}` but\n${first}\n\n${output}")
endif()
