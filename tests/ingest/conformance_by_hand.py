"""What micdb reads and no reader of the manifest does: each value was looked up in the file by hand.

Read with strings, h5py, tifffile, struct or access2theMatrix, none of them through micdb. The test refuses
any value that is not listed here: look it up before you add it.
"""

from __future__ import annotations

from typing import Any

# Item -> field -> our value, in our units: V, mm, s, A, mrad, nm, deg, m/s.
BY_HAND: dict[str, dict[str, Any]] = {
    "bcf/Hitachi_TM3030Plus.bcf": {
        "sample": "Cathode_161007_74",
    },
    "bcf/test_TEM.bcf": {
        "sample": "Map data",
    },
    "blo/test1.blo": {
        "comment": "Precession angle : \r\nPrecession Frequency : \r\nCamera gamma : on",
    },
    "bruker_nanoscope/old_bruker.002": {
        "date": "2019-07-30T12:34:38", "instrument": "D3100", "offset_x": 0.0, "offset_y": 0.0,
        "scan_angle": 0.0, "scan_speed": 4.51494e-05,
    },
    "createc_dat/A250320.191933.dat": {
        "scan_angle": 0.0,
    },
    "createc_dat/A260211.102135.dat": {
        "scan_angle": 0.0,
    },
    "createc_dat/createc_scan_preview_120nm.dat": {
        "scan_angle": 0.0, "setpoint_current": 1.01e-10,
    },
    "dm3/Fei HAADF-MX_location.dm3": {
        "scan_angle": 0.0,
    },
    "dm3/multi_signal.dm3": {
        "scan_angle": 0.0,
    },
    "dm3/test_STEM_image.dm3": {
        "scan_angle": 0.0,
    },
    "emd_ncem/Acquisition_18.emd": {
        "accelerating_voltage": 200000.0, "camera_length": 85.0, "convergence_angle": 24.9794,
        "defocus": 6761.51, "dwell_time": 1e-06, "instrument": "TEAM 0.5", "magnification": 5.1e+06,
        "operator": "Peter Ercius", "sample": "STO laser cut",
    },
    "emd_ncem/example_metadata.emd": {
        "accelerating_voltage": 300000.0, "instrument": "Titan", "operator": "John Doe", "sample": "TiO2",
    },
    "emd_velox/Camera Ceta Imaging Micro.emd": {
        "defocus": 0.0, "exposure_time": 0.4, "vendor": "FEI Company",
    },
    "emd_velox/STEM HAADF-DF4-DF2-BF Diffraction Micro.emd": {
        "dwell_time": 1e-05, "scan_angle": 18.2, "vendor": "FEI Company",
    },
    "emd_velox/fei_example_complex_fft.emd": {
        "convergence_angle": 3.38019, "defocus": -321.912, "exposure_time": 2.0, "vendor": "FEI Company",
    },
    "gwy/PTO_110_Virgin0001 (1).gwy": {
        "date": "2023-12-20T11:44:03", "instrument": "Cypher",
    },
    "igor_ibw/P0089OP0027.ibw": {
        "comment": "IDS at 350 kHz with correct sensitivity", "offset_x": 0.0, "offset_y": 0.0,
        "scan_angle": 0.0, "scan_speed": 5.008e-06,
    },
    "jpk/sample_0.jpk-qi-image": {
        "date": "2025-05-20T17:48:42.479", "instrument": "JPK00733", "offset_x": 11259.2,
        "offset_y": -438.552, "operator": "jpkuser", "signal": "Ref. Force Height at 40%",
    },
    "merlin_mib/Single_1_Frame_CounterDepth_6_Rows_256.mib": {
        "exposure_time": 0.001,
    },
    "movie/bulk-water.mov": {
        "date": "2012-12-10T05:00:00Z", "step time": 0.0417083,
    },
    "mrc/Custom_movie.mrc": {
        "accelerating_voltage": 300000.0, "date": "2025-04-29T19:45:00Z", "detector": "DESim",
        "exposure_time": 30.0,
    },
    "mrc/HAADFscan.mrc": {
        "accelerating_voltage": 300000.0, "camera_length": 91.1, "date": "2022-12-05T12:13:07",
        "detector": "HAADF", "dwell_time": 0.01, "instrument": "Spectra", "spot_size": 6.0,
        "stage_tilt": 0.00811612, "stage_tilt_beta": 0.0, "stage_x": 0.0238563, "stage_y": -0.00711972,
        "stage_z": -1.77e-06,
    },
    "nanonis_sxm/A151216.123306-02602.sxm": {
        "scan_angle": 0.0, "scan_speed": 9.9968e-11,
    },
    "nanonis_sxm/nanonis.sxm": {
        "comment": "4.4K", "scan_angle": 0.0, "scan_speed": 7.71605e-09,
    },
    "omicron_mtrx/2014Mar01-093225--7_100.Z_mtrx": {
        "bias": 0.1, "date": "2014-03-01T19:16:42Z", "dwell_time": 0.0004, "offset_x": 27.7,
        "offset_y": -28.7, "operator": "ltstm", "sample": "I-125/Au 20140225", "scan_angle": 0.0,
        "scan_speed": 1.16667e-07, "setpoint_current": 1e-09,
    },
    "rhk_sm4/lia_image_ABC_Graphite-Sample5_9K_2021_08_23_16_44_04_909.sm4": {
        "dwell_time": 0.0683594, "scan_angle": 0.0,
    },
    "sem_tif_fei/800_020.tif": {
        "comment": "Quanta 3D FEG", "emission_current": 0.000231932, "magnification": 250.0,
        "scan_angle": 0.0, "signal": "SE", "spot_size": 1.0,
    },
    "sem_tif_fei/FEI-Helios-navcam-with-no-IRBeam-bad-floats.tif": {
        "comment": "USER TEXTFOR NAVCAM FIB", "scan_angle": 0.481505,
    },
    "sem_tif_fei/SS 316 P&C_#1_001.tif": {
        "emission_current": 0.000137333, "magnification": 65.0001, "scan_angle": 0.0, "signal": "SE",
        "spot_size": 1.0,
    },
    "sem_tif_tescan/tescan_example_sem1.tif": {
        "beam_current": 2.64366e-10, "dwell_time": 3.2e-06, "emission_current": 0.00018609,
        "operator": "supervisor", "vendor": "TESCAN - http://www.tescan.com/",
    },
    "sem_tif_zeiss/zeiss_example_sem.tif": {
        "scan_angle": 0.0,
    },
    "tem_tif/TVIPS_bin4.tif": {
        "date": "2017-04-12T09:01:17", "instrument": "MCL_04",
    },
    "tem_tif/olympus_SIS.tif": {
        "detector": "Quemesa", "instrument": "Quemesa", "magnification": 600000.0,
        "vendor": "Olympus Soft Imaging Solutions",
    },
    "tia/128x128-TEM_search.emi": {
        "defocus": 0.0, "emission_current": 0.000225, "spot_size": 3.0,
    },
    "tia/64x64_TEM_images_acquire.emi": {
        "defocus": 0.0, "emission_current": 4.5e-06, "spot_size": 2.0,
    },
    "tia/64x64x5_TEM_preview.emi": {
        "defocus": 0.0, "emission_current": 4.5e-06, "spot_size": 2.0,
    },
    "tif_ome/brightlight-off-slit-spccd-simple.ome.tiff": {
        "exposure_time": 1.0, "magnification": 0.33, "vendor": "Delmic",
    },
    "tif_plain/optical_Zeiss_AxioVision_BW.tif": {
        "instrument": "AxioCamERc5s",
    },
    "tif_plain/optical_Zeiss_AxioVision_RGB.tif": {
        "instrument": "AxioCamERc5s",
    },
    "wsxm/sample_1_um_scale.top": {
        "bias": 0.0, "date": "2025-05-14T16:30:58", "offset_x": -2697.9, "offset_y": 1342.13,
    },
}  # fmt: skip
