/* Arrays in .npy files of version 1.0, little-endian and row-major. The includer defines
 * fail(format, ...), which must not return. */
#ifndef NPY_H
#define NPY_H

#include <onnxruntime_c_api.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_AXES = 8 };

typedef struct {
    char *data;
    ONNXTensorElementDataType type;
    size_t width; /* bytes of an element */
    int rank;
    int64_t shape[MAX_AXES];
} Array;

/* The file is "\x93NUMPY", version, length of the header in two bytes, header, data; the header a
 * line like {'descr': '<f4', 'fortran_order': False, 'shape': (2, 7, 3), }. */
static inline Array read_npy(const char *path) {
    static const struct {
        const char *name;
        ONNXTensorElementDataType type;
        size_t width;
    } formats[] = {
        {"<f4'", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, 4},
        {"<i8'", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, 8},
        {"<i4'", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, 4},
        {"|b1'", ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL, 1}};
    unsigned char start[10];
    char header[1024] = "", *type, *size;
    Array array = {0};
    size_t count = 1;
    FILE *file = fopen(path, "rb");
    if (!file || fread(start, 1, sizeof start, file) != sizeof start)
        fail("`%s` cannot be read", path);
    size_t length = start[8] + 256u * start[9];
    if (memcmp(start, "\x93NUMPY\1", 7) || length >= sizeof header ||
        fread(header, 1, length, file) != length || !(type = strstr(header, "'descr': '")) ||
        !(size = strstr(header, "'shape': (")))
        fail("`%s` is not a .npy file of version 1", path);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (!strncmp(type + 10, formats[i].name, 4))
            array.type = formats[i].type, array.width = formats[i].width;
    if (!array.width || !strstr(header, "'fortran_order': False"))
        fail("`%s` is not row-major float32, int64, int32 or bool: %s", path, header);
    for (size += 10; *size != ')'; size += strspn(size, ", ")) {
        if (array.rank == MAX_AXES) fail("`%s` has more than %d axes", path, MAX_AXES);
        count *= (size_t)(array.shape[array.rank++] = strtoll(size, &size, 10));
    }
    array.data = calloc(count + 1, array.width);
    if (!array.data || fread(array.data, array.width, count, file) != count)
        fail("`%s` ends before its %zu elements", path, count);
    fclose(file);
    return array;
}

#endif
