# Compiler settings of the project's own targets, and small helpers.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

# Link against this target (privately) to compile as the project does.
add_library(dbos_warnings INTERFACE)
target_compile_options(dbos_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
  $<$<CXX_COMPILER_ID:Clang>:-Werror=reorder-init-list>
  $<$<BOOL:${DBOS_WARNINGS_AS_ERRORS}>:-Werror>)

if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # False alarms of g++ 12: operator+ of strings, and std::optional and std::variant, whose storage it takes for read
  # where the flag or index says that nothing is there (at -O2, and under a sanitizer).
  target_compile_options(dbos_warnings INTERFACE -Wno-restrict -Wno-maybe-uninitialized)
endif()

if(DBOS_SANITIZE)
  add_compile_options(-fsanitize=${DBOS_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=${DBOS_SANITIZE})
  if(DBOS_SANITIZE MATCHES thread)
    # Known to the instrumented code as well: tests may leave out what a sanitizer makes too slow.
    add_compile_definitions(DBOS_UNDER_TSAN)
  endif()
endif()

# Every folder below `parent` that has a CMakeLists.txt of its own.
function(dbos_add_subdirectories parent)
  file(GLOB lists CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${parent}/*/CMakeLists.txt)
  foreach(list ${lists})
    get_filename_component(folder ${list} DIRECTORY)
    add_subdirectory(${folder})
  endforeach()
endfunction()

# bench/CMakeLists.txt if there is one, else all of bench/*.cpp as the program dbos_bench.
function(dbos_add_bench)
  if(EXISTS ${PROJECT_SOURCE_DIR}/bench/CMakeLists.txt)
    add_subdirectory(${PROJECT_SOURCE_DIR}/bench)
    return()
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bench/*.cpp)
  if(sources)
    add_executable(dbos_bench ${sources})
    target_include_directories(dbos_bench PRIVATE ${PROJECT_SOURCE_DIR}/src)
    target_link_libraries(dbos_bench PRIVATE dbos_testable dbos_warnings PostgreSQL::PostgreSQL SQLite::SQLite3)
    set_target_properties(dbos_bench PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bench)
  endif()
endfunction()
